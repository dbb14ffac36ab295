/* Fibres; see fibre.h. */
#include "tests/cuda_emulator/fibre.h"
#include "tests/cuda_emulator/order.h"
#include "tests/cuda_emulator/runtime.h"

#include <pthread.h>
#include <sys/mman.h>

#ifdef NT_EMU_OWN_SWITCH
/* nt_emu_switch(void **from, void *to): callee-saved registers of the System V ABI; the rest the caller
 * saved. */
extern "C" void nt_emu_switch(void **from, void *to);
__asm__(".text\n"
        ".globl nt_emu_switch\n"
        ".hidden nt_emu_switch\n"
        ".type nt_emu_switch, @function\n"
        "nt_emu_switch:\n"
        "    pushq %rbp\n"
        "    pushq %rbx\n"
        "    pushq %r12\n"
        "    pushq %r13\n"
        "    pushq %r14\n"
        "    pushq %r15\n"
        "    movq %rsp, (%rdi)\n"
        "    movq %rsi, %rsp\n"
        "    popq %r15\n"
        "    popq %r14\n"
        "    popq %r13\n"
        "    popq %r12\n"
        "    popq %rbx\n"
        "    popq %rbp\n"
        "    ret\n"
        ".size nt_emu_switch, . - nt_emu_switch\n");
#endif

namespace emu {

constexpr size_t STACK_BYTES = 128 << 10;

static void make_stack(Flow *fibre, unsigned color)
{
    void *base = mmap(nullptr, STACK_BYTES + STACK_GUARD_BYTES, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED || mprotect(base, STACK_GUARD_BYTES, PROT_NONE) != 0)
        nt_emu_die("no memory for the stack of a fibre");
    fibre->stack = static_cast<char *>(base) + STACK_GUARD_BYTES;
    fibre->mapped_bytes = STACK_BYTES + STACK_GUARD_BYTES;
    fibre->stack_bytes = STACK_BYTES - color % 61 * 192;
}

void make_fibre(Flow *fibre, void (*entry)(), unsigned color)
{
    make_stack(fibre, color);
#ifdef NT_EMU_OWN_SWITCH
    void **top = reinterpret_cast<void **>(fibre->stack + fibre->stack_bytes);
    *--top = nullptr; /* where entry would return to; also aligns the stack as after a call */
    *--top = reinterpret_cast<void *>(entry);
    for (int i = 0; i < 6; i++)
        *--top = nullptr;
    fibre->sp = top;
#else
    getcontext(&fibre->context);
    fibre->context.uc_stack.ss_sp = fibre->stack;
    fibre->context.uc_stack.ss_size = fibre->stack_bytes;
    fibre->context.uc_link = nullptr;
    makecontext(&fibre->context, entry, 0);
#endif
}

void free_fibre(Flow *fibre)
{
    permit(fibre->stack, fibre->stack_bytes);
    munmap(fibre->stack - STACK_GUARD_BYTES, fibre->mapped_bytes);
}

void adopt_thread(Flow *flow)
{
    pthread_attr_t attributes;
    void *base;
    if (pthread_getattr_np(pthread_self(), &attributes) != 0 ||
        pthread_attr_getstack(&attributes, &base, &flow->stack_bytes) != 0)
        nt_emu_die("the stack of a thread is unknown");
    pthread_attr_destroy(&attributes);
    flow->stack = static_cast<char *>(base);
#ifdef NT_EMU_TSAN
    flow->tsan = __tsan_get_current_fiber();
#endif
}

void switch_flow(Flow *from, Flow *to)
{
#ifdef NT_EMU_ASAN
    __sanitizer_start_switch_fiber(&from->fake_stack, to->stack, to->stack_bytes);
#endif
#ifdef NT_EMU_OWN_SWITCH
    nt_emu_switch(&from->sp, to->sp);
#else
    swapcontext(&from->context, &to->context);
#endif
#ifdef NT_EMU_ASAN
    __sanitizer_finish_switch_fiber(from->fake_stack, nullptr, nullptr);
#endif
}

void arrive_first()
{
#ifdef NT_EMU_ASAN
    __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
#endif
}

} // namespace emu
