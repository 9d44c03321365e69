#!/bin/bash
# kind/image.sh OUT.tar : the image of a node of kind (Debian 12 with systemd 252, containerd, kubelet, kubeadm, and the
# images that kubeadm wants) without a registry, as `docker load` takes it. systemd 256 and later refuse cgroup v1, hence
# Debian 12. Needs root, debootstrap, and what `cargo xtask setup --kind` built before.
set -eu
. "$(dirname "$0")/lib.sh"
out=$(realpath -m "$1")
work=$out.work r=$out.work/root; t=$work/made
stop() { [ -z "${p:-}" ] || { kill $p 2>/dev/null || :; wait $p 2>/dev/null || :; }; rm -rf "$work"; }
trap stop EXIT
rm -rf "$work"; mkdir -p $t
containerd=$CACHE/containerd-2.3.7
files=$(go env GOMODCACHE)/sigs.k8s.io/kind@v0.33.0/images/base/files   # what kind's own base image is made of
packages=systemd,systemd-sysv,dbus,iptables,iproute2,procps,conntrack,socat,ethtool,ebtables,mount,bash,ca-certificates,hostname,kmod,nftables,jq,util-linux,libseccomp2,curl,rsync,runc
debootstrap --variant=minbase --include=$packages bookworm $r http://deb.debian.org/debian
rm -rf $r/var/cache/apt $r/var/lib/apt/lists $r/usr/share/doc $r/usr/share/man $r/usr/share/locale
cp -r --no-preserve=mode $files/etc/. $r/etc/
mkdir -p $r/kind/bin $r/kind/manifests $r/opt/cni/bin $r/etc/kubernetes/manifests $r/etc/cni/net.d $r/usr/local/sbin
cp --no-preserve=mode $files/kind/bin/* $r/kind/bin/; cp --no-preserve=mode $files/usr/local/bin/* $r/usr/local/bin/
chmod 755 $r/kind/bin/* $r/usr/local/bin/*
install -m755 $containerd/* $r/usr/local/bin/
install -m755 $C/runc-unresourced $r/usr/local/sbin/runc
install -m755 $K/kubeadm $K/kubelet $K/kubectl $r/usr/bin/
install -m755 $CACHE/cni-1.9.1/* $r/opt/cni/bin/
echo -n $KUBERNETES >$r/kind/version
# What a machine without CAP_SYS_RESOURCE cannot grant.
sed -i '/OOMScoreAdjust/d; /^Limit/d; /TasksMax/d' $r/etc/systemd/system/containerd.service
chroot $r bash -ec 'ctr oci spec | jq ".hooks.createContainer[0] = {\"path\": \"/kind/bin/mount-product-files.sh\"} | del(.process.rlimits)" >/etc/containerd/cri-base.json'
sed -i 's/restrict_oom_score_adj = false/restrict_oom_score_adj = true/; s|pause:3.10"|pause:3.10.2"|' $r/etc/containerd/config.toml
# As kind's Dockerfile does it.
chroot $r bash -ec '
  find /lib/systemd/system/sysinit.target.wants/ -name systemd-tmpfiles-setup.service -delete
  rm -f /lib/systemd/system/multi-user.target.wants/* /etc/systemd/system/*.wants/* /lib/systemd/system/local-fs.target.wants/* \
    /lib/systemd/system/sockets.target.wants/*udev* /lib/systemd/system/sockets.target.wants/*initctl* /lib/systemd/system/basic.target.wants/*
  grep -q ReadKMsg=no /etc/systemd/journald.conf || echo ReadKMsg=no >>/etc/systemd/journald.conf
  systemctl enable kubelet.service containerd.service undo-mount-hacks.service
  systemctl mask systemd-binfmt.service'
cat >$r/etc/cni/net.d/10-kc.conflist <<'Y'
{"cniVersion":"1.0.0","name":"kc","plugins":[
 {"type":"bridge","bridge":"cni0","isGateway":true,"ipMasq":false,"hairpinMode":true,"ipam":{"type":"host-local","ranges":[[{"subnet":"10.244.0.0/24"}]],"routes":[{"dst":"0.0.0.0/0"}]}},
 {"type":"portmap","capabilities":{"portMappings":true}}]}
Y
printf 'apiVersion: storage.k8s.io/v1\nkind: StorageClass\nmetadata: {name: standard}\nprovisioner: rancher.io/local-path\n' >$r/kind/manifests/default-storage.yaml
# --- the images that kubeadm wants (kubeadm config images list)
program() { # program NAME:TAG BINARY
  rm -rf $t/root; mkdir -p $t/root/tmp; chmod 1777 $t/root/tmp; install -m755 $2 $t/root/$(basename $2)
  "$C/image.sh" $t/$(basename $2).tar $t/root "$1={\"Entrypoint\":[\"/$(basename $2)\"],\"Env\":[\"PATH=/\"]}"; }
for n in kube-apiserver kube-controller-manager kube-scheduler; do program registry.k8s.io/$n:$KUBERNETES $K/$n; done
program registry.k8s.io/etcd:3.6.8-0 $ETCD
program registry.k8s.io/coredns/coredns:v1.14.2 $COREDNS
rm -rf $t/root; mkdir $t/root
tar -C $r --exclude=./usr/share --exclude=./usr/bin/kube* --exclude=./opt --exclude=./var -c . | tar -C $t/root -x
rm -f $t/root/usr/local/bin/c*; install -m755 $K/kube-proxy $t/root/usr/local/bin/
"$C/image.sh" $t/kube-proxy.tar $t/root "registry.k8s.io/kube-proxy:$KUBERNETES={\"Env\":[\"PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\"]}"
rm -rf $t/root
# --- into the node's containerd
cat >$t/containerd.toml <<Y
version = 3
root = "$r/var/lib/containerd"
state = "$t/state"
oom_score = 0
disabled_plugins = ["io.containerd.grpc.v1.cri","io.containerd.cri.v1.images","io.containerd.cri.v1.runtime","io.containerd.nri.v1.nri","io.containerd.internal.v1.opt"]
[grpc]
  address = "$t/containerd.sock"
Y
$containerd/containerd --config $t/containerd.toml >$t/containerd.log 2>&1 & p=$!
ctr="$containerd/ctr -a $t/containerd.sock -n k8s.io"
for i in $(seq 100); do $ctr version >/dev/null 2>&1 && break; live $p || { cat $t/containerd.log; exit 1; }; sleep 0.1; done
for f in $CACHE/pause-1.tar $t/*.tar; do $ctr images import --local $f; done
$ctr images tag localhost/pause:1 registry.k8s.io/pause:3.10.2
kill $p; wait $p || :; p=
rm -f $t/*.tar
KEEP_OWNERS=1 TMPDIR=$t "$C/image.sh" $out.part $r \
  "$IMAGE={\"Env\":[\"container=docker\",\"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\"],\"StopSignal\":\"SIGRTMIN+3\",\"Entrypoint\":[\"/usr/local/bin/entrypoint\",\"/sbin/init\"]}"
mv $out.part $out
