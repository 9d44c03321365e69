// Preloaded into a process that loads BPF programs: has the verifier write its statistics where no log is
// asked for, and says how much stack each function of a program that was loaded takes.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

// BPF_LOG_STATS of include/linux/bpf_verifier.h.
enum { STATISTICS = 4 };

typedef long (*syscall_t)(long, long, long, long, long, long, long);

long syscall(long number, long a, long b, long c, long d, long e, long f) {
    static char log[1 << 20];
    syscall_t next = (syscall_t)dlsym(RTLD_NEXT, "syscall");
    union bpf_attr *asked = (union bpf_attr *)b;
    if (number != SYS_bpf || a != BPF_PROG_LOAD || asked->log_size != 0)
        return next(number, a, b, c, d, e, f);
    union bpf_attr attr = {0};
    memcpy(&attr, asked, (size_t)c < sizeof attr ? (size_t)c : sizeof attr);
    log[0] = 0;
    attr.log_level = STATISTICS;
    attr.log_buf = (unsigned long)log;
    attr.log_size = sizeof log;
    long made = next(number, a, (long)&attr, sizeof attr, d, e, f);
    int error = errno;
    const char *depths = strstr(log, "stack depth ");
    if (made >= 0 && depths)
        dprintf(2, "%s: %.*s\n", asked->prog_name, (int)strcspn(depths, "\n"), depths);
    errno = error;
    return made;
}
