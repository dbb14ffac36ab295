/* Fibres: stacks to switch between, cheaply, on one host thread.
 *
 * On x86-64 a switch saves six registers and the stack pointer (no system call, unlike swapcontext, which
 * saves the signal mask); elsewhere (and with NT_EMU_PORTABLE defined) it is swapcontext. The sanitizers are
 * told of each switch. */
#ifndef NT_EMU_FIBRE_H
#define NT_EMU_FIBRE_H

#include <cstddef>
#if defined(__x86_64__) && !defined(NT_EMU_PORTABLE)
#define NT_EMU_OWN_SWITCH 1
#else
#include <ucontext.h>
#endif

namespace emu {

constexpr size_t STACK_GUARD_BYTES = 64 << 10; /* below each stack; more than a frame is likely to have */

/* One flow of control: a fibre, or the host thread itself (then without a stack of its own). */
struct Flow {
#ifdef NT_EMU_OWN_SWITCH
    void *sp = nullptr;
#else
    ucontext_t context;
#endif
    char *stack = nullptr;
    size_t stack_bytes = 0, mapped_bytes = 0;
    void *tsan = nullptr;       /* what ThreadSanitizer takes a host thread for */
    void *fake_stack = nullptr; /* AddressSanitizer's */
};

/* Makes a fibre that starts in `entry`, which never returns. `color` shifts its stack, so that the stacks of
 * many fibres do not fall into the same lines of the cache. */
void make_fibre(Flow *fibre, void (*entry)(), unsigned color);

/* Frees a fibre that is not running. */
void free_fibre(Flow *fibre);

/* The host thread's own flow: before its first switch. */
void adopt_thread(Flow *flow);

/* Switches from the running flow `from` to `to`; returns when somebody switches back. */
void switch_flow(Flow *from, Flow *to);

/* First thing on a new fibre. */
void arrive_first();

} // namespace emu
#endif
