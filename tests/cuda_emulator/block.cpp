/* Kernels: grids run block by block, a block's threads as fibres of the thread that serves the stream.
 *
 * A fibre runs thread after thread of a block and block after block, and is parked only where a thread has to
 * wait for others, at a barrier or a warp's meeting; then the next fibre goes on with the next thread. So a
 * kernel that never synchronises runs as a plain loop, and one that does costs a switch per wait. When every
 * thread of the block either left or waits, and nothing can wake them, the kernel would hang on the device
 * (or do worse): that is reported, with who waits where.
 *
 * Stricter than recent devices on purpose: a barrier wants all threads of the block, also those that left
 * early; a shuffle must not read a lane that takes no part. Both are undefined or deadlock by the programming
 * guide. */
#include "tests/cuda_emulator/fibre.h"
#include "tests/cuda_emulator/include/nt_emu_device.h"
#include "tests/cuda_emulator/include/nt_emu_launch.h"
#include "tests/cuda_emulator/runtime.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <sys/mman.h>
#include <unistd.h>

__thread nt_emu_index nt_emu_here = {};

namespace emu {

constexpr unsigned WARP = 32, MAX_THREADS = 1024, MAX_WARPS = MAX_THREADS / WARP;
constexpr size_t PAGE = 4096, STATIC_SHARED = 48 << 10, OPTIN_SHARED = 227 << 10;
constexpr size_t DYNAMIC_ROOM = (OPTIN_SHARED + PAGE - 1) / PAGE * PAGE;

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
    unsigned linear; /* index of the thread within its block */
    uint3 thread;
    Fibre *next;         /* in one list at a time: runnable, idle, at the barrier */
    uint64_t seen_block; /* of Engine.blocks_ever */
    /* what it waits for at a warp's meeting or a barrier, and what that gave */
    nt_emu_meeting kind;
    unsigned mask;
    int from;
    uint64_t value, result;
    const char *file;
    int line;
};

/* A singly linked list of fibres, first in first out. */
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
};

struct Barrier {
    unsigned n_arrived, n_true;
    nt_emu_barrier kind;
    const char *file;
    int line;
    Queue waiting;
    char order[2]; /* tokens of this barrier and the next one; a fast thread must not order itself before slow
                      ones */
    unsigned phase;
};

/* What runs a grid; one for each serving thread. */
struct Engine : Hidden {
    Flow host;
    const KernelWork *work;
    Fibre *current;
    Queue runnable;
    Fibre *idle;
    unsigned n_fibres;
    unsigned n_threads, n_started, n_left;
    uint64_t n_blocks, block, block_start, block_stride; /* `block` of them have begun */
    uint64_t blocks_ever;
    char
        order_of_blocks; /* token: a block after the one before it, because they share __shared__ variables */
    Barrier barrier;
    Warp warps[MAX_WARPS];
    unsigned start[MAX_THREADS]; /* in which the threads start */
    uint3 place[MAX_THREADS];    /* threadIdx by linear index */
    dim3 placed;                 /* the block's shape for which `place` is */
    char *dynamic;
};

static __thread Engine *engine;

/* Describing what runs */

static int describe_thread(char *text, size_t n_bytes, const Engine &e)
{
    const uint3 b = nt_emu_here.block, t = nt_emu_here.thread;
    return snprintf(text, n_bytes, "kernel %s, block (%u,%u,%u), thread (%u,%u,%u)", e.work->name, b.x, b.y,
                    b.z, t.x, t.y, t.z);
}

void describe_running(char *text, size_t n_bytes)
{
    if (engine && engine->work) describe_thread(text, n_bytes, *engine);
}

static const char *meeting_name(nt_emu_meeting kind)
{
    static const char *const names[] = {"__syncwarp",        "a shuffle",         "__ballot_sync",
                                        "__any_sync",        "__all_sync",        "__match_any_sync",
                                        "__reduce_add_sync", "__reduce_min_sync", "__reduce_max_sync"};
    return names[kind];
}

/* All that are left wait for somebody who will not come. */
[[noreturn]] static void stuck(Engine &e)
{
    char text[700];
    const uint3 b = nt_emu_here.block;
    int at =
        snprintf(text, sizeof text, "divergence in kernel %s, block (%u,%u,%u) of %u threads:", e.work->name,
                 b.x, b.y, b.z, e.n_threads);
    if (e.barrier.n_arrived)
        at += snprintf(text + at, sizeof text - (size_t)at, " %u wait at the barrier at %s:%d;",
                       e.barrier.n_arrived, e.barrier.file, e.barrier.line);
    if (e.n_left) at += snprintf(text + at, sizeof text - (size_t)at, " %u left the kernel;", e.n_left);
    for (unsigned w = 0; w * WARP < e.n_threads && at < 500; w++) {
        const Warp &warp = e.warps[w];
        if (!warp.waiting) continue;
        const Fibre *f = warp.lanes[__builtin_ctz(warp.waiting)];
        at += snprintf(text + at, sizeof text - (size_t)at,
                       " warp %u: lanes 0x%08x wait, the first of them at %s at %s:%d for lanes 0x%08x;", w,
                       warp.waiting, meeting_name(f->kind), f->file, f->line, f->mask);
    }
    e.work = nullptr; /* said here already */
    nt_emu_die("%s they would wait for ever", text);
}

/* Fibres: which runs next */

static void fibre_main();

static Fibre *idle_fibre(Engine &e)
{
    if (Fibre *f = e.idle) {
        e.idle = f->next;
        return f;
    }
    Fibre *f = new Fibre();
    make_fibre(f, fibre_main, e.n_fibres++);
    return f;
}

static void become(Engine &e, Fibre *f)
{
    e.current = f;
    nt_emu_here.thread = f->thread;
}

static void assign(Engine &e, Fibre *f)
{
    f->linear = e.start[e.n_started++];
    f->thread = e.place[f->linear];
}

/* The next fibre that can run, or NULL. */
static Fibre *next_fibre(Engine &e)
{
    if (Fibre *f = e.runnable.pop()) return f;
    if (e.n_started == e.n_threads) return nullptr;
    Fibre *f = idle_fibre(e);
    assign(e, f);
    return f;
}

/* Parks the running fibre, which somebody will make runnable. */
static void park(Engine &e)
{
    Fibre *self = e.current, *next = next_fibre(e);
    if (!next) stuck(e);
    e.current = next;
    switch_flow(self, next);
    become(e, self);
}

/* Blocks */

static void begin_block(Engine &e)
{
    order_after(&e.order_of_blocks);
    e.blocks_ever++;
    const uint64_t n = (e.block_start + e.block++ % e.n_blocks * e.block_stride) % e.n_blocks;
    const dim3 grid = e.work->grid;
    nt_emu_here.block =
        uint3{(unsigned)(n % grid.x), (unsigned)(n / grid.x % grid.y), (unsigned)(n / grid.x / grid.y)};
    e.n_started = e.n_left = 0;
    for (unsigned w = 0; w * WARP < e.n_threads; w++)
        e.warps[w].waiting = e.warps[w].left = 0;
    if (e.work->shared_bytes) memset(e.dynamic, 0xFF, e.work->shared_bytes);
    order_before(&e.order_of_blocks);
}

/* After a thread's end: takes the next thread for the running fibre, or gives the floor to another one. */
static void go_on(Engine &e)
{
    Fibre *self = e.current;
    e.n_left++;
    e.warps[self->linear / WARP].left |= 1u << self->linear % WARP;
    Flow *next = e.runnable.head;
    if (next) {
        e.current = e.runnable.pop();
    } else if (e.n_started < e.n_threads) {
        assign(e, self);
        return;
    } else if (e.n_left < e.n_threads) {
        stuck(e);
    } else if (e.block < e.n_blocks) {
        begin_block(e);
        assign(e, self);
        return;
    } else {
        next = &e.host;
    }
    order_before(&e.order_of_blocks);
    self->next = e.idle;
    e.idle = self;
    switch_flow(self, next);
}

static void fibre_main()
{
    arrive_first();
    Engine &e = *engine;
    Fibre *const self = e.current;
    for (;;) {
        if (self->seen_block != e.blocks_ever) order_after(&e.order_of_blocks);
        self->seen_block = e.blocks_ever;
        become(e, self);
        e.warps[self->linear / WARP].lanes[self->linear % WARP] = self;
        e.work->kernel.run(e.work->kernel.closure);
        go_on(e);
    }
}

/* Grids */

static void place_threads(Engine &e, dim3 block)
{
    if (e.placed.x == block.x && e.placed.y == block.y && e.placed.z == block.z) return;
    e.placed = block;
    unsigned i = 0;
    for (unsigned z = 0; z < block.z; z++)
        for (unsigned y = 0; y < block.y; y++)
            for (unsigned x = 0; x < block.x; x++)
                e.place[i++] = uint3{x, y, z};
    for (unsigned w = 0; w * WARP < i; w++)
        e.warps[w].exists = i - w * WARP >= WARP ? ~0u : (1u << (i - w * WARP)) - 1;
    for (unsigned t = 0; t < i; t++)
        e.start[t] = t;
}

static uint64_t common_divisor(uint64_t a, uint64_t b)
{
    return b ? common_divisor(b, a % b) : a;
}

/* By seed: blocks, and warps within a block, in another order. */
static void shuffle_order(Engine &e)
{
    e.block_start = 0;
    e.block_stride = 1;
    if (!config().seeded) return;
    Held held(lock);
    e.block_start = draw() % e.n_blocks;
    do {
        e.block_stride = 1 + draw() % e.n_blocks;
    } while (common_divisor(e.block_stride, e.n_blocks) != 1);
    const unsigned full = e.n_threads / WARP, rotation = (unsigned)draw() % WARP;
    unsigned first[MAX_WARPS];
    for (unsigned w = 0; w < full; w++)
        first[w] = w * WARP;
    for (unsigned w = full; w > 1; w--)
        std::swap(first[w - 1], first[draw() % w]);
    for (unsigned w = 0; w < full; w++)
        for (unsigned l = 0; l < WARP; l++)
            e.start[w * WARP + l] = first[w] + (l + rotation) % WARP;
}

static Engine *make_engine()
{
    Engine *e = new Engine();
    adopt_thread(&e->host);
    e->dynamic = static_cast<char *>(mmap(nullptr, DYNAMIC_ROOM + PAGE, PROT_READ | PROT_WRITE,
                                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    if (e->dynamic == MAP_FAILED || mprotect(e->dynamic + DYNAMIC_ROOM, PAGE, PROT_NONE) != 0)
        nt_emu_die("no memory for shared memory");
    return e;
}

void end_engine()
{
    if (!engine) return;
    while (Fibre *f = engine->idle) {
        engine->idle = f->next;
        free_fibre(f);
        delete f;
    }
    munmap(engine->dynamic, DYNAMIC_ROOM + PAGE);
    delete engine;
    engine = nullptr;
}

static void run_grid(Engine &e, const KernelWork *work)
{
    const dim3 b = work->block;
    char *const dynamic = e.dynamic;
    const size_t asked = (work->shared_bytes + 15) / 16 * 16;
    e.work = work;
    e.n_threads = b.x * b.y * b.z;
    e.n_blocks = (uint64_t)work->grid.x * work->grid.y * work->grid.z;
    e.block = 0;
    nt_emu_here.block_dim = b;
    nt_emu_here.grid_dim = work->grid;
    place_threads(e, b);
    shuffle_order(e);
    forbid(dynamic, DYNAMIC_ROOM);
    e.dynamic = dynamic + DYNAMIC_ROOM - asked; /* its end against the inaccessible page */
    permit(e.dynamic, work->shared_bytes);
    begin_block(e);
    Fibre *first = e.current = idle_fibre(e);
    assign(e, first);
    switch_flow(&e.host, first);
    order_after(&e.order_of_blocks);
    e.dynamic = dynamic;
    e.work = nullptr;
}

/* Faults on demand, counted over all kernels that run. True: this launch acts out a fault. */
static bool acts_out_fault()
{
    static int64_t n_run;
    const int64_t n = __atomic_add_fetch(&n_run, 1, __ATOMIC_RELAXED);
    if (n == config().fail_launch) {
        serving->device->sticky = cudaErrorIllegalAddress;
        return true;
    }
    while (n == config().hang_launch)
        pause();
    return false;
}

void KernelWork::run()
{
    if (acts_out_fault()) return;
    if (!engine) engine = make_engine();
    run_grid(*engine, this);
    order_before(this);
}

/* Launches */

static auto &dynamic_limits =
    *new Map<const void *, size_t>; /* by kernel, where cudaFuncSetAttribute raised it */

cudaError_t check_launch(const void *entry, dim3 grid, dim3 block, size_t shared_bytes)
{
    if (!entry) return cudaErrorInvalidDeviceFunction;
    if (block.x == 0 || block.y == 0 || block.z == 0 || block.x > 1024 || block.y > 1024 || block.z > 64 ||
        (uint64_t)block.x * block.y * block.z > MAX_THREADS)
        return cudaErrorInvalidConfiguration;
    if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > 2147483647u || grid.y > 65535 || grid.z > 65535)
        return cudaErrorInvalidConfiguration;
    auto raised = dynamic_limits.find(entry);
    const size_t limit =
        raised == dynamic_limits.end() ? STATIC_SHARED : std::max(STATIC_SHARED, raised->second);
    return shared_bytes > limit ? cudaErrorInvalidValue : cudaSuccess;
}

/* Pointers among the arguments must be the device's to read. */
static void check_pointers(const nt_emu_kernel &kernel, const Device *device)
{
    for (int i = 0; i < kernel.n_args; i++) {
        const void *ptr = kernel.pointers[i];
        if (!ptr) continue;
        const Place p = place_of(ptr);
        if (p.freed)
            nt_emu_die("use after free: argument %d of kernel %s is %p in allocation %llu, which was freed",
                       i + 1, kernel.name, ptr, (unsigned long long)p.number);
        if (!p.owner && !p.pinned && !p.guard)
            nt_emu_die("argument %d of kernel %s is %p, which is ordinary host memory", i + 1, kernel.name,
                       ptr);
        if (p.owner && p.owner != device)
            nt_emu_die("argument %d of kernel %s is %p, memory of device %d, but the stream is of device %d",
                       i + 1, kernel.name, ptr, p.owner->index, device->index);
    }
}

} // namespace emu

using namespace emu;

extern "C" {

cudaError_t nt_emu_launch_kernel(const nt_emu_kernel *kernel, dim3 grid, dim3 block, size_t shared_bytes,
                                 cudaStream_t handle)
{
    auto work = make_hidden<KernelWork>(*kernel, grid, block, shared_bytes);
    cudaError_t error = enter();
    if (error != cudaSuccess) return error;
    Held held(lock);
    CUstream_st *stream;
    error = resolve(handle, &stream);
    if (error != cudaSuccess) return error;
    error = check_launch(kernel->entry, grid, block, shared_bytes);
    if (error != cudaSuccess) return fail(error);
    if (stream->device != current_device()) return fail(cudaErrorInvalidResourceHandle);
    check_pointers(*kernel, stream->device);
    return fail(submit(stream, std::move(work)));
}

cudaError_t cudaFuncSetAttribute(const void *func, enum cudaFuncAttribute attribute, int value)
{
    const cudaError_t error = enter();
    if (error != cudaSuccess) return error;
    if (!func) return fail(cudaErrorInvalidDeviceFunction);
    if (attribute == cudaFuncAttributePreferredSharedMemoryCarveout) return cudaSuccess;
    if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize || value < 0 || (size_t)value > OPTIN_SHARED)
        return fail(cudaErrorInvalidValue);
    Held held(lock);
    dynamic_limits[func] = (size_t)value;
    return cudaSuccess;
}

/* The device language's part, called on fibres */

int nt_emu_barrier_wait(nt_emu_barrier kind, int predicate, const char *file, int line)
{
    Engine &e = *engine;
    Barrier &b = e.barrier;
    Fibre *self = e.current;
    if (b.n_arrived == 0) {
        b.kind = kind;
        b.file = file;
        b.line = line;
        b.n_true = 0;
    } else if (b.kind != kind || b.line != line || strcmp(b.file, file) != 0) {
        nt_emu_die("divergence: threads of one block wait at different barriers, %s:%d and %s:%d", b.file,
                   b.line, file, line);
    }
    b.n_true += predicate != 0;
    char *token = &b.order[b.phase & 1];
    order_before(token);
    if (++b.n_arrived < e.n_threads) {
        b.waiting.push(self);
        park(e);
    } else {
        const unsigned n = b.n_true;
        const uint64_t result = kind == NT_EMU_BARRIER_AND  ? n == e.n_threads
                                : kind == NT_EMU_BARRIER_OR ? n > 0
                                                            : n;
        for (Fibre *f = b.waiting.head; f; f = f->next)
            f->result = result;
        self->result = result;
        e.runnable.append(&b.waiting);
        b.n_arrived = 0;
        b.phase++;
    }
    order_after(token);
    return (int)self->result;
}

unsigned nt_emu_lane(void)
{
    return engine->current->linear % WARP;
}

/* Only the asking thread: one of the answers that the device may give. */
unsigned nt_emu_active_mask(void)
{
    return 1u << nt_emu_lane();
}

void *nt_emu_dynamic_shared(void)
{
    return engine->dynamic;
}

void nt_emu_fence(void)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

void nt_emu_trap(void)
{
    nt_emu_die("__trap()");
}

} // extern "C"

namespace emu {

static uint64_t vote(const Warp &w, unsigned lanes, nt_emu_meeting kind)
{
    unsigned ballot = 0;
    for (unsigned m = lanes; m; m &= m - 1) {
        const int l = __builtin_ctz(m);
        ballot |= (unsigned)(w.lanes[l]->value != 0) << l;
    }
    return kind == NT_EMU_BALLOT ? ballot : kind == NT_EMU_ANY ? ballot != 0 : ballot == lanes;
}

static uint64_t reduce(const Warp &w, unsigned lanes, nt_emu_meeting kind)
{
    uint64_t r = w.lanes[__builtin_ctz(lanes)]->value;
    for (unsigned m = lanes & (lanes - 1); m; m &= m - 1) {
        const uint64_t v = w.lanes[__builtin_ctz(m)]->value;
        if (kind == NT_EMU_REDUCE_ADD)
            r += v;
        else
            r = (kind == NT_EMU_REDUCE_MIN) == ((int64_t)v < (int64_t)r) ? v : r;
    }
    return r;
}

static uint64_t matching(const Warp &w, unsigned lanes, uint64_t value)
{
    unsigned same = 0;
    for (unsigned m = lanes; m; m &= m - 1)
        same |= (unsigned)(w.lanes[__builtin_ctz(m)]->value == value) << __builtin_ctz(m);
    return same;
}

static uint64_t shuffled(const Warp &w, unsigned lanes, const Fibre *f)
{
    if (!(lanes >> f->from & 1))
        nt_emu_die(
            "divergence: lane %u reads lane %d by a shuffle at %s:%d, in which that lane takes no part "
            "(taking part: 0x%08x)",
            f->linear % WARP, f->from, f->file, f->line, lanes);
    return w.lanes[f->from]->value;
}

/* Everybody is there: gives each lane its result. */
static void conclude(const Warp &w, unsigned lanes, nt_emu_meeting kind)
{
    const bool common = kind == NT_EMU_BALLOT || kind == NT_EMU_ANY || kind == NT_EMU_ALL;
    const bool reduction = kind >= NT_EMU_REDUCE_ADD;
    const uint64_t all = common ? vote(w, lanes, kind) : reduction ? reduce(w, lanes, kind) : 0;
    for (unsigned m = lanes; m; m &= m - 1) {
        Fibre *f = w.lanes[__builtin_ctz(m)];
        f->result = kind == NT_EMU_SHUFFLE ? shuffled(w, lanes, f)
                    : kind == NT_EMU_MATCH ? matching(w, lanes, f->value)
                                           : all;
    }
}

static bool all_there(const Warp &w, unsigned lanes, const Fibre *self)
{
    if ((w.waiting & lanes) != lanes) return false;
    for (unsigned m = lanes; m; m &= m - 1) {
        const Fibre *f = w.lanes[__builtin_ctz(m)];
        if (f->kind != self->kind || f->mask != self->mask) return false;
    }
    return true;
}

} // namespace emu

extern "C" uint64_t nt_emu_warp_meet(nt_emu_meeting kind, unsigned mask, uint64_t value, int from,
                                     const char *file, int line)
{
    Engine &e = *engine;
    Fibre *self = e.current;
    Warp &w = e.warps[self->linear / WARP];
    const unsigned lane = self->linear % WARP, lanes = mask & w.exists;
    if (!(mask >> lane & 1))
        nt_emu_die("%s at %s:%d: lane %u is not in its mask 0x%08x", meeting_name(kind), file, line, lane,
                   mask);
    self->kind = kind;
    self->mask = mask;
    self->value = value;
    self->from = from;
    self->file = file;
    self->line = line;
    w.waiting |= 1u << lane;
    if (kind == NT_EMU_SYNCWARP) order_before(&w); /* shuffles and votes order no memory */
    if (!all_there(w, lanes, self)) {
        park(e);
    } else {
        conclude(w, lanes, kind);
        w.waiting &= ~lanes;
        for (unsigned m = lanes & ~(1u << lane); m; m &= m - 1)
            e.runnable.push(w.lanes[__builtin_ctz(m)]);
    }
    if (kind == NT_EMU_SYNCWARP) order_after(&w);
    return self->result;
}
