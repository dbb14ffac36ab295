/* What the emulator has to say: mistakes of the program under test, faults on protected memory, leaks at
 * exit.
 *
 * A mistake that the real device would answer with an error is complained about and answered with that error,
 * and the process cannot end with 0 any more; one that it would answer with nonsense, a hang or a broken
 * process ends the process here. */
#include "tests/cuda_emulator/runtime.h"

#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <mutex>
#include <pthread.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

namespace emu {

constexpr int EXIT_COMPLAINED = 24, EXIT_LEAKED = 23;
static int n_complaints;
static struct sigaction previous[2]; /* of SIGSEGV, SIGBUS */

static void say(const char *format, va_list args)
{
    char text[1024], where[256] = "";
    vsnprintf(text, sizeof text, format, args);
    if (serving) describe_running(where, sizeof where);
    fprintf(stderr, "cuda emulator: %s%s%s\n", text, where[0] ? "; in " : "", where);
    fflush(stderr);
}

static void die_of(const char *what, const void *address)
{
    nt_emu_die("%s at address %p", what, address);
}

/* Where in the program it happened, for addr2line. */
static void show_place(const void *context)
{
#if defined(__x86_64__)
    const void *pc = (const void *)static_cast<const ucontext_t *>(context)->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
    const void *pc = (const void *)static_cast<const ucontext_t *>(context)->uc_mcontext.pc;
#else
    const void *pc = nullptr;
    (void)context;
#endif
    Dl_info file;
    if (pc && dladdr(pc, &file) && file.dli_fname)
        fprintf(stderr, "cuda emulator: at %s; see addr2line -i -e %s 0x%zx\n",
                file.dli_sname ? file.dli_sname : "a static function", file.dli_fname,
                (size_t)((const char *)pc - (const char *)file.dli_fbase));
}

/* Names what was touched: the lock may be held by whoever faulted, so it is not taken. */
static void explain(const siginfo_t *info, const Place &p)
{
    const char *who = !serving ? "the host" : serving->device == p.owner ? "the device" : "another device";
    const unsigned long long number = p.number;
    const char *at = static_cast<const char *>(info->si_addr);
    if (p.freed)
        nt_emu_die("use after free: %s touched byte %td of allocation %llu of %zu bytes, which was freed",
                   who, at - p.data, number, p.n_bytes);
    if (p.guard)
        nt_emu_die("out of bounds: %s touched an address %td bytes %s allocation %llu of %zu bytes (%s)", who,
                   at < p.data ? p.data - at : at - (p.data + p.n_bytes),
                   at < p.data ? "before" : "beyond the end of", number, p.n_bytes,
                   p.owner ? "device memory" : "pinned memory");
    nt_emu_die(
        "%s touched device memory: byte %td of allocation %llu of %zu bytes at %p of device %d (found by %s)",
        who, at - p.data, number, p.n_bytes, (void *)p.data, p.owner ? p.owner->index : -1,
        protection_name());
}

static void on_fault(int signal, siginfo_t *info, void *context)
{
    const Place p = place_of(info->si_addr);
    char where[256] = "";
    if (serving) describe_running(where, sizeof where);
    if (p.number || where[0]) show_place(context);
    if (p.number) explain(info, p);
    if (overflows_stack(info->si_addr)) nt_emu_die("stack overflow: a thread has 128 KB here");
    if (where[0]) die_of(info->si_addr ? "illegal address" : "illegal or misaligned access", info->si_addr);
    const struct sigaction &next = previous[signal == SIGBUS];
    if (next.sa_flags & SA_SIGINFO) {
        next.sa_sigaction(signal, info, context);
    } else if (next.sa_handler != SIG_DFL && next.sa_handler != SIG_IGN) {
        next.sa_handler(signal);
    } else {
        sigaction(signal, &next, nullptr); /* happens again, and ends the process as it would have */
    }
}

void catch_faults()
{
    const int signals[] = {SIGSEGV, SIGBUS};
    for (int i = 0; i < 2; i++) {
        struct sigaction now;
        sigaction(signals[i], nullptr, &now);
        if ((now.sa_flags & SA_SIGINFO) && now.sa_sigaction == on_fault) continue;
        previous[i] = now;
        struct sigaction ours;
        memset(&ours, 0, sizeof ours);
        ours.sa_sigaction = on_fault;
        ours.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
        sigaction(signals[i], &ours, nullptr);
    }
}

void catch_faults_on_this_thread()
{
    stack_t stack;
    memset(&stack, 0, sizeof stack);
    stack.ss_size = 65536;
    stack.ss_sp = mmap(nullptr, stack.ss_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (stack.ss_sp == MAP_FAILED || sigaltstack(&stack, nullptr) != 0) nt_emu_die("no stack for signals");
}

void forget_faults_on_this_thread()
{
    stack_t stack, off;
    memset(&off, 0, sizeof off);
    off.ss_flags = SS_DISABLE;
    if (sigaltstack(&off, &stack) == 0 && !(stack.ss_flags & SS_DISABLE)) munmap(stack.ss_sp, stack.ss_size);
}

/* At exit: leaks, and the status of a process that was complained about. */
static void at_exit(int status, void *)
{
    const Leaks policy = config().leaks;
    int n_leaks = 0;
    if (policy != Leaks::ignore) {
        Held held(lock);
        n_leaks = count_leaks(true) + count_stream_leaks(true) + count_graph_leaks(true);
    }
    fflush(nullptr);
    if (status != 0) return;
    if (n_complaints > 0) _exit(EXIT_COMPLAINED);
    if (n_leaks > 0 && policy == Leaks::fail) _exit(EXIT_LEAKED);
}

void watch_exit()
{
    static std::once_flag once;
    std::call_once(once, [] {
        if (on_exit(at_exit, nullptr) != 0) nt_emu_die("on_exit failed");
    });
}

} // namespace emu

using namespace emu;

extern "C" {

void nt_emu_die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say(format, args);
    va_end(args);
    signal(SIGABRT, SIG_DFL);
    abort();
}

void nt_emu_complain(const char *format, ...)
{
    n_complaints++;
    watch_exit(); /* libraries complain also where no device is used */
    va_list args;
    va_start(args, format);
    say(format, args);
    va_end(args);
}

} // extern "C"
