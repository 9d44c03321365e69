#!/bin/busybox sh
# First program of a virtual machine: mounts the host's files, for reading only, and runs a script of
# them. What it says goes to the second serial port; the first is the kernel's.
b=/bin/busybox
$b mkdir -p /proc /sys /dev /host
$b mount -t proc none /proc
$b mount -t sysfs none /sys
$b mount -t devtmpfs none /dev
exec > /dev/ttyS1 2>&1 < /dev/null
for module in /modules/*.ko; do
  [ ! -e "$module" ] || $b insmod "$module"
done
$b mount -t virtiofs -o ro host /host || $b poweroff -f
$b mount -t proc none /host/proc
$b mount -t sysfs none /host/sys
$b mount -t devtmpfs none /host/dev
$b mount -t tmpfs none /host/tmp
$b mount -t tmpfs none /host/run
$b mount -t cgroup2 none /host/sys/fs/cgroup
$b mount -t tracefs none /host/sys/kernel/tracing
$b mount -t debugfs none /host/sys/kernel/debug
$b ip link set lo up
echo "KAOS-VM release $($b uname -r)"
echo "KAOS-VM preempt $($b cat /host/sys/kernel/debug/sched/preempt)"
script=$($b sed 's/.*kaos.script=\([^ ]*\).*/\1/' /proc/cmdline)
$b chroot /host /bin/sh "$script"
echo "KAOS-VM end"
$b poweroff -f
