/* What runs kernels: the structures that block.cpp (grids, blocks, threads), meet.cpp (barriers and warps)
 * and shared.cpp (shared memory) share.
 *
 * ThreadSanitizer sees each warp of a block as a thread of its own (a fibre in its words); blocks follow one
 * another, because they use the same shared memory. One for each lane would find races within a warp too, but
 * its clocks grow with the number of threads, and a barrier would cost it microseconds per lane. */
#ifndef NT_EMU_ENGINE_H
#define NT_EMU_ENGINE_H

#include "tests/cuda_emulator/fibre.h"
#include "tests/cuda_emulator/include/nt_emu_device.h"
#include "tests/cuda_emulator/include/nt_emu_launch.h"
#include "tests/cuda_emulator/runtime.h"

namespace emu {

constexpr unsigned WARP = 32, MAX_THREADS = 1024, MAX_WARPS = MAX_THREADS / WARP;
constexpr size_t PAGE = 4096, STATIC_SHARED = 48 << 10, OPTIN_SHARED = 227 << 10;
#ifdef NT_EMU_TSAN
constexpr bool FIBRES_BELONG_TO_WARPS = true; /* or the reuse of a stack would look like a race */
#else
constexpr bool FIBRES_BELONG_TO_WARPS = false;
#endif

/* A launch: kernel, arguments, shape. */
struct KernelWork : Work {
    nt_emu_kernel kernel;
    dim3 grid, block;
    size_t shared_bytes;
    KernelWork(const nt_emu_kernel &k, dim3 g, dim3 b, size_t s)
        : Work(k.name), kernel(k), grid(g), block(b), shared_bytes(s)
    {
    }
    ~KernelWork() override
    {
        order_after(this);
        kernel.destroy(kernel.closure);
    }
    void run() override;
};

/* A fibre and the thread of the block that it runs. */
struct Fibre : Flow, Hidden {
    unsigned pool;   /* of idle fibres, where it goes back to */
    unsigned linear; /* index of the thread within its block */
    uint3 thread;
    Fibre *next; /* in one list at a time: runnable, idle, at the barrier */
    /* what it waits for at a meeting of its warp, and what that or a barrier gave */
    nt_emu_meeting kind;
    unsigned mask;
    int from;
    uint64_t value, result;
    const char *file;
    int line;
};

/* A list of fibres, first in first out. */
struct Queue {
    Fibre *head = nullptr, *tail = nullptr;
    void push(Fibre *f)
    {
        f->next = nullptr;
        (head ? tail->next : head) = f;
        tail = f;
    }
    Fibre *pop()
    {
        Fibre *f = head;
        if (f) head = f->next;
        return f;
    }
    void append(Queue *other)
    {
        if (!other->head) return;
        (head ? tail->next : head) = other->head;
        tail = other->tail;
        other->head = nullptr;
    }
};

struct Warp {
    Fibre *lanes[WARP];
    unsigned waiting, left, exists; /* masks of lanes */
    unsigned n_at_barrier;
    unsigned phase;      /* of the barrier that it left last */
    uint64_t seen_block; /* of Engine.blocks_ever */
    void *tsan;
};

struct Barrier {
    unsigned n_arrived, n_true;
    nt_emu_barrier kind;
    const char *file;
    int line;
    Queue waiting;
    unsigned phase;
    char order[2]; /* tokens, by phase: who is through already must not seem to come before who is not */
};

struct Shared; /* shared.cpp */

/* What runs grids; one for each serving thread. */
struct Engine : Hidden {
    Flow host;
    const KernelWork *work;
    Fibre *current;
    Queue runnable;
    Fibre *idle[MAX_WARPS]; /* by pool */
    unsigned n_fibres;
    unsigned n_threads, n_started, n_left;
    uint64_t n_blocks, block, block_start, block_stride; /* `block` of them have begun */
    uint64_t blocks_ever;
    char block_order[2]; /* tokens: what block i waits for, by i & 1 */
    Barrier barrier;
    Warp warps[MAX_WARPS];
    unsigned start[MAX_THREADS]; /* in which the threads start */
    uint3 place[MAX_THREADS];    /* threadIdx by linear index */
    dim3 placed;                 /* the block's shape for which `place` is */
    const Warp *seen;            /* which of the warps ThreadSanitizer sees; NULL: the host thread */
    Shared *shared;
};

extern __thread Engine *engine;

/* block.cpp: parks the running fibre until somebody makes it runnable. */
void park(Engine &e);

/* shared.cpp */
Shared *make_shared_memory();
void free_shared_memory(Shared *shared);
void begin_shared(Shared *shared, const KernelWork *work); /* a launch ... */
void poison_shared(Shared *shared);                        /* between its blocks ... */
void end_shared(Shared *shared);                           /* and after the last one */
size_t dynamic_limit(const void *entry);                   /* with the lock taken */

} // namespace emu
#endif
