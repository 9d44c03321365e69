#!/bin/bash
# kind/stop.sh : ends the cluster, and the Docker that was started for it with all that it made.
set -u
. "$(dirname "$0")/lib.sh"
[ -e $R ] || { echo "not running"; exit 0; }
T0=$(date +%s%N)
timeout 120 $( [ -z "$OWN" ] || echo nsenter --net=/run/netns/$NS ) $KIND delete cluster --name $NAME
if [ -n "$OWN" ]; then
  # Leaving it to dockerd would leave its bridge and rules, where it has not the namespace for itself.
  docker network rm kind >/dev/null
  p=$(cat $R/docker.pid 2>/dev/null); [ -z "$p" ] || kill $p
  for i in $(seq 300); do live "$p" || break; sleep 0.1; done
  awk '{print $2}' /proc/mounts | grep -E "^$R/" | sort -r | while read m; do umount -l "$m"; done
  ip netns del $NS
  [ ! -f $R/made-groups ] || find /sys/fs/cgroup -maxdepth 2 -name docker -exec rmdir {} +
  [ ! -f $R/made-lib-modules ] || rmdir /lib/modules
fi
restore_sysctls $R/sysctl.saved
rm -rf "$R"
echo "stopped in $(( ($(date +%s%N)-T0)/1000000 )) ms"
