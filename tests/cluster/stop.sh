#!/bin/bash
# stop.sh : ends the cluster, removes its containers, mounts, cgroups, rules and its data.
set -u
. "$(dirname "$0")/lib.sh"
[ -e /run/netns/$NS ] || { echo "not running"; exit 0; }
if [ "${INSIDE:-}" != 1 ]; then INSIDE=1 exec nsenter --net=/run/netns/$NS "$0" "$@"; fi
export KUBECONFIG=$PKI/admin.kubeconfig
T0=$(date +%s%N); ms() { echo "+$(( ($(date +%s%N)-T0)/1000000 )) ms: $*"; }
stopone kubelet
# all processes of all pods at once: cgroup.kill of the v2 tree (it has no controllers here, but it has this file)
for k in /sys/fs/cgroup/unified/kubepods /sys/fs/cgroup/kubepods; do [ -f $k/cgroup.kill ] && echo 1 > $k/cgroup.kill; done
stopone coredns; stopone proxy; stopone containerd
# shims left behind are ours if their address argument is our socket
for p in $(ps -C containerd-shim -o pid= ; ps -C containerd-shim-runc-v2 -o pid=); do tr '\0' ' ' 2>/dev/null < /proc/$p/cmdline | grep -q -- "-address $R/ctd.sock" && kill -9 $p; done
ms shims; "$C/cp.sh" stop; ms cp
awk '{print $2}' /proc/mounts | grep -E "^$R/" | sort -r | while read m; do umount -l "$m"; done
# Network namespaces of our pods: those that were not there before. Of one that was just being removed nothing else may be left.
for n in $(ls /run/netns | grep ^cni- | grep -vxFf $R/spaces.before); do ip netns del $n 2>/dev/null; done
find /var/log/containers -maxdepth 1 -type l -lname "$R/*" -delete 2>/dev/null
ip netns del $NS   # with it go its bridges, addresses and rules
# A cgroup can be removed when its last process is gone; the kernel takes seconds to end one with many BPF programs.
groups() { ls -d /sys/fs/cgroup/*/kubepods /sys/fs/cgroup/kubepods 2>/dev/null; }
for i in $(seq 300); do
  for d in $(groups); do find $d -depth -type d -exec rmdir {} + 2>/dev/null; done
  [ -n "$(groups)" ] || break
  sleep 0.1
done
[ -z "$(groups)" ] || echo "left behind: $(groups)"
restore_sysctls $R/sysctl.saved
rm -rf "$R"
echo "stopped in $(( ($(date +%s%N)-T0)/1000000 )) ms"
