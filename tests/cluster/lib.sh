# What the scripts here share. `cargo xtask setup --node` builds the programs.
C=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/kaos
K=$CACHE/kubernetes-1.36.3
R=${KAOS_CLUSTER_RUN:-/var/lib/kaos-cluster}   # everything that is written at run time
L=$R/logs; PKI=$R/pki; PIDS=$R/pids
NS=kaos-cluster                        # network namespace in which the cluster lives
NODE=node1
NIP=10.254.254.1                      # node address inside that namespace
PODCIDR=10.244.0.0/24; SVCCIDR=10.96.0.0/16
ETCD=$CACHE/etcd-3.6.8/etcd; COREDNS=$CACHE/coredns-1.14.7/coredns; CTD=/usr/bin/containerd; CTR=/usr/bin/ctr; CNIBIN=/usr/lib/cni
start() { # start NAME CMD... : in background, own session, log and pid file
  local n=$1; shift
  setsid "$@" >$L/$n.log 2>&1 </dev/null & echo $! >$PIDS/$n; }
# some PID 1s reap orphans only every 2 s, so kill -0 would still see the dead ones: look at the state instead
live() { case "$(awk '/^State/{print $2}' /proc/$1/status 2>/dev/null)" in ""|Z|X) return 1;; esac; }
alive() { [ -s $PIDS/$1 ] && live $(cat $PIDS/$1); }
stopone() { local p; [ -s $PIDS/$1 ] || return 0; p=$(cat $PIDS/$1)
  kill $p 2>/dev/null || :; for i in $(seq 100); do live $p || break; sleep 0.1; done
  live $p && kill -9 $p 2>/dev/null; rm -f $PIDS/$1; }
# the kubelet (in a kind node, too) changes these sysctls of the machine: remember them before, put them back after
save_sysctls() { [ -f $1 ] || for s in vm.overcommit_memory vm.panic_on_oom kernel.panic kernel.panic_on_oops kernel.keys.root_maxkeys kernel.keys.root_maxbytes; do echo "$s=$(sysctl -n $s 2>/dev/null || :)"; done >$1; }
restore_sysctls() { [ -f $1 ] && while read s; do case $s in *=?*) sysctl -qw "$s" 2>/dev/null;; esac; done <$1; rm -f $1; }
