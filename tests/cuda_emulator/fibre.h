/* Fibres: stacks to switch between, cheaply, on one host thread.
 *
 * On x86-64 a switch saves six registers and the stack pointer (no system call, unlike swapcontext, which
 * saves the signal mask); elsewhere it is swapcontext. The sanitizers are told of each switch. */
#ifndef NT_EMU_FIBRE_H
#define NT_EMU_FIBRE_H

#include <cstddef>
#ifndef __x86_64__
#include <ucontext.h>
#endif

namespace emu {

/* One flow of control: a fibre, or the host thread itself (then without a stack of its own). */
struct Flow {
#ifdef __x86_64__
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
