#!/bin/bash
# start.sh : a real single-node Kubernetes in a network namespace of its own; stop.sh ends it. Needs root, and what
# `cargo xtask setup --node` brings.
# Reach it with in.sh: `in.sh kubectl get nodes`, `in.sh helm ls`, `in.sh curl http://POD`. Nothing of it is visible outside the namespace.
set -eu
. "$(dirname "$0")/lib.sh"
if [ "${INSIDE:-}" != 1 ]; then
  [ ! -e /run/netns/$NS ] || { echo "it runs already, or is left from before; stop.sh ends it"; exit 1; }
  # stop.sh ends all pods below these cgroups: none of them may be another's.
  for d in /sys/fs/cgroup/kubepods /sys/fs/cgroup/*/kubepods; do
    [ ! -d $d ] || { echo "another Kubernetes runs on this machine: $d"; exit 1; }
  done
  ip netns add "$NS"
  INSIDE=1 exec nsenter --net=/run/netns/$NS "$0" "$@"
fi
ip link set lo up
export BIND=$NIP KUBECONFIG=$PKI/admin.kubeconfig
T0=$(date +%s%N); ms() { echo "+$(( ($(date +%s%N)-T0)/1000000 )) ms: $*"; }
mkdir -p $L $PIDS $R/ctd-root $R/ctd-state $R/kubelet $R/cni/net.d $R/pods-log
kctl() { timeout 30 $K/kubectl --request-timeout=10s "$@"; }
# --- network: bridge kn0 carries the node address (nothing but this machine can reach it); CNI makes kcni0 for the pods
ip link show kn0 >/dev/null 2>&1 || ip link add kn0 type bridge
ip addr replace $NIP/32 dev kn0; ip link set kn0 up
ip route replace $SVCCIDR dev kn0   # Services from the node itself: any route does, kube-proxy turns the destination into a pod
sysctl -qw net.ipv4.ip_forward=1
ls /run/netns >$R/spaces.before
# --- sysctls the kubelet changes: remember them for stop.sh
save_sysctls $R/sysctl.saved
"$C/cp.sh" start; ms "control plane ready"
# --- CNI
cat > $R/cni/net.d/10-kc.conflist <<Y
{"cniVersion":"1.0.0","name":"kc","plugins":[
 {"type":"bridge","bridge":"kcni0","isGateway":true,"ipMasq":false,"hairpinMode":true,"ipam":{"type":"host-local","dataDir":"$R/cni/ipam","ranges":[[{"subnet":"$PODCIDR"}]],"routes":[{"dst":"0.0.0.0/0"}]}},
 {"type":"portmap","capabilities":{"portMappings":true}}]}
Y
# --- containerd 1.6 (Debian) with its own root, state and socket
cat > $R/containerd.toml <<Y
version = 2
root = "$R/ctd-root"
state = "$R/ctd-state"
oom_score = 0
disabled_plugins = ["io.containerd.internal.v1.opt"]
[grpc]
  address = "$R/ctd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
    BinaryName = "$C/runc-unresourced"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "$CNIBIN"
    conf_dir = "$R/cni/net.d"
Y
start containerd $CTD --config $R/containerd.toml
for i in $(seq 100); do $CTR -a $R/ctd.sock version >/dev/null 2>&1 && break; alive containerd || { tail -5 $L/containerd.log; exit 1; }; sleep 0.1; done
"$C/import.sh" $CACHE/pause-1.tar
# --- names: on the node's own address
cat > $R/Corefile <<Y
.:53 {
  bind $NIP
  errors
  kubernetes cluster.local {
    kubeconfig $PKI/admin.kubeconfig c
  }
}
Y
start coredns $COREDNS -conf $R/Corefile
ms "containerd and CoreDNS started, images imported"
# --- kubelet
cat > $R/kubelet.yaml <<Y
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
cgroupDriver: cgroupfs
cgroupsPerQOS: true
enforceNodeAllocatable: [pods]
failSwapOn: true
oomScoreAdj: 0
address: $NIP
port: 10250
healthzPort: 10248
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $PKI/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: $PKI/kubelet-server.crt
tlsPrivateKeyFile: $PKI/kubelet-server.key
containerRuntimeEndpoint: unix://$R/ctd.sock
clusterDNS: [$NIP]
clusterDomain: cluster.local
resolvConf: ""
podLogsDir: $R/pods-log
volumePluginDir: $R/kubelet/volplugins
registerNode: true
makeIPTablesUtilChains: false
evictionHard: {memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%}
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
nodeStatusUpdateFrequency: 5s
syncFrequency: 10s
Y
start kubelet $K/kubelet --config=$R/kubelet.yaml --kubeconfig=$PKI/kubelet.kubeconfig --root-dir=$R/kubelet --cert-dir=$R/kubelet/pki \
  --hostname-override=$NODE --node-ip=$NIP --v=2
# --- RBAC for kube-proxy is there by default (system:node-proxier for user system:kube-proxy)
for i in $(seq 300); do kctl get node $NODE >/dev/null 2>&1 && break; alive kubelet || { tail -5 $L/kubelet.log; exit 1; }; sleep 0.2; done
ms "node registered"
cat > $R/proxy.yaml <<Y
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {kubeconfig: $PKI/proxy.kubeconfig}
mode: iptables
clusterCIDR: 10.244.0.0/16
hostnameOverride: $NODE
bindAddress: $NIP
bindAddressHardFail: false
healthzBindAddress: 127.0.0.1:10256
metricsBindAddress: 127.0.0.1:10249
oomScoreAdj: 0
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
nodePortAddresses: [$NIP/32]
Y
start proxy $K/kube-proxy --config=$R/proxy.yaml
kctl wait --for=condition=Ready node/$NODE --timeout=120s
ms "node Ready. export KUBECONFIG=$KUBECONFIG"
