/* Kernels: grids run block by block, a block's threads as fibres of the thread that serves the stream.
 *
 * A fibre runs thread after thread of a block and block after block, and is parked only where a thread has to
 * wait for others, at a barrier or a warp's meeting (meet.cpp); then the next fibre goes on with the next
 * thread. So a kernel that never synchronises runs as a plain loop, and one that does costs a switch per
 * wait. When every thread of the block either left or waits, and nothing can wake them, the kernel would hang
 * on the device (or do worse): that is reported, with who waits where. */
#include "tests/cuda_emulator/engine.h"

#include <cstdio>
#include <numeric>

__thread nt_emu_index nt_emu_here = {};

namespace emu {

__thread Engine *engine;

void describe_running(char *text, size_t n_bytes)
{
    if (!engine || !engine->work) return;
    const uint3 b = nt_emu_here.block, t = nt_emu_here.thread;
    snprintf(text, n_bytes, "kernel %s, block (%u,%u,%u), thread (%u,%u,%u)", engine->work->name, b.x, b.y,
             b.z, t.x, t.y, t.z);
}

bool overflows_stack(const void *address)
{
    if (!engine || !engine->work || !engine->current) return false;
    const char *stack = engine->current->stack;
    return address < stack && address >= stack - STACK_GUARD_BYTES;
}

static int describe_warp(char *text, size_t n_bytes, unsigned index, const Warp &warp)
{
    static const char *const names[] = {"__syncwarp",        "a shuffle",         "__ballot_sync",
                                        "__any_sync",        "__all_sync",        "__match_any_sync",
                                        "__reduce_add_sync", "__reduce_min_sync", "__reduce_max_sync"};
    const Fibre *f = warp.lanes[__builtin_ctz(warp.waiting)];
    return snprintf(text, n_bytes,
                    " warp %u: lanes 0x%08x wait, the first of them at %s at %s:%d for lanes 0x%08x;", index,
                    warp.waiting, names[f->kind], f->file, f->line, f->mask);
}

/* All that are left wait for somebody who will not come. */
[[noreturn]] static void stuck(Engine &e)
{
    char text[900];
    const size_t size = sizeof text;
    const uint3 b = nt_emu_here.block;
    int at = snprintf(text, size, "divergence in kernel %s, block (%u,%u,%u) of %u threads:", e.work->name,
                      b.x, b.y, b.z, e.n_threads);
    if (e.barrier.n_arrived)
        at += snprintf(text + at, size - (size_t)at, " %u wait at the barrier at %s:%d;", e.barrier.n_arrived,
                       e.barrier.file, e.barrier.line);
    if (e.n_left) at += snprintf(text + at, size - (size_t)at, " %u left the kernel;", e.n_left);
    for (unsigned w = 0; w * WARP < e.n_threads && at < 600; w++)
        if (e.warps[w].waiting) at += describe_warp(text + at, size - (size_t)at, w, e.warps[w]);
    e.work = nullptr; /* said here already */
    nt_emu_die("%s they would wait for ever", text);
}

/* Which fibre runs */

static void fibre_main();

/* What a block waits for: the end of the one before it, because both use the same shared memory. */
static char *token_of(Engine &e, uint64_t block)
{
    return &e.block_order[block & 1];
}

/* From here on ThreadSanitizer sees this warp (NULL: the host thread). */
static void appear_as(Engine &e, Warp *warp)
{
#ifdef NT_EMU_TSAN
    if (e.seen != warp) {
        if (warp && !warp->tsan) warp->tsan = make_seen_flow();
        see_flow(warp ? warp->tsan : e.host.tsan);
        e.seen = warp;
    }
    if (warp && warp->seen_block != e.blocks_ever) {
        order_after(token_of(e, e.blocks_ever));
        warp->seen_block = e.blocks_ever;
    }
#else
    (void)e;
    (void)warp;
#endif
}

static unsigned pool_of(unsigned linear)
{
    return FIBRES_BELONG_TO_WARPS ? linear / WARP : 0;
}

static Fibre *idle_fibre(Engine &e, unsigned pool)
{
    if (Fibre *f = e.idle[pool]) {
        e.idle[pool] = f->next;
        return f;
    }
    Fibre *f = new Fibre();
    f->pool = pool;
    make_fibre(f, fibre_main, e.n_fibres++);
    return f;
}

/* The running fibre is this one now. */
static void become(Engine &e, Fibre *f)
{
    e.current = f;
    nt_emu_here.thread = f->thread;
    appear_as(e, &e.warps[f->linear / WARP]);
}

/* Gives a fibre the next thread of the block. */
static void assign(Engine &e, Fibre *f)
{
    f->linear = e.start[e.n_started++];
    f->thread = e.place[f->linear];
}

/* A fibre that can run, or NULL. */
static Fibre *next_fibre(Engine &e)
{
    if (Fibre *f = e.runnable.pop()) return f;
    if (e.n_started == e.n_threads) return nullptr;
    Fibre *f = idle_fibre(e, pool_of(e.start[e.n_started]));
    assign(e, f);
    return f;
}

void park(Engine &e)
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
    char *token = token_of(e, ++e.blocks_ever);
    order_after(token);
    const uint64_t n = (e.block_start + e.block * e.block_stride) % e.n_blocks;
    const dim3 grid = e.work->grid;
    nt_emu_here.block =
        uint3{(unsigned)(n % grid.x), (unsigned)(n / grid.x % grid.y), (unsigned)(n / grid.x / grid.y)};
    if (e.block > 0) poison_shared(e.shared);
    e.block++;
    e.n_started = e.n_left = 0;
    for (unsigned w = 0; w * WARP < e.n_threads; w++)
        e.warps[w].waiting = e.warps[w].left = 0;
    order_before(token);
}

static void note_end_of_thread(Engine &e, unsigned linear)
{
    Warp &w = e.warps[linear / WARP];
    w.left |= 1u << linear % WARP;
    if (w.left == w.exists) order_before(token_of(e, e.blocks_ever + 1));
    e.n_left++;
}

/* After a thread's end: the running fibre takes the next thread, or gives the floor to another one. */
static void go_on(Engine &e)
{
    Fibre *self = e.current;
    note_end_of_thread(e, self->linear);
    if (e.n_left == e.n_threads && e.block < e.n_blocks) begin_block(e);
    Flow *next = &e.host;
    if (!e.runnable.head && e.n_started < e.n_threads && pool_of(e.start[e.n_started]) == self->pool) {
        assign(e, self);
        return;
    }
    if (Fibre *f = next_fibre(e))
        next = e.current = f;
    else if (e.n_left < e.n_threads)
        stuck(e);
    self->next = e.idle[self->pool];
    e.idle[self->pool] = self;
    switch_flow(self, next);
}

static void fibre_main()
{
    arrive_first();
    Engine &e = *engine;
    Fibre *const self = e.current;
    for (;;) {
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

/* By seed: the blocks of a grid, and the warps of a block, in another order. */
static void shuffle_order(Engine &e)
{
    e.block_start = 0;
    e.block_stride = 1;
    if (!config().seeded) return;
    Held held(lock);
    e.block_start = draw() % e.n_blocks;
    do {
        e.block_stride = 1 + draw() % e.n_blocks;
    } while (std::gcd(e.block_stride, e.n_blocks) != 1);
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

void end_engine()
{
    if (!engine) return;
    for (Fibre *&pool : engine->idle)
        while (Fibre *f = pool) {
            pool = f->next;
            free_fibre(f);
            delete f;
        }
#ifdef NT_EMU_TSAN
    for (Warp &w : engine->warps)
        if (w.tsan) forget_seen_flow(w.tsan);
#endif
    free_shared_memory(engine->shared);
    delete engine;
    engine = nullptr;
}

static Engine *make_engine()
{
    Engine *e = new Engine();
    adopt_thread(&e->host);
    e->placed = dim3(0, 0, 0);
    e->shared = make_shared_memory();
    return e;
}

static void run_grid(Engine &e, const KernelWork *work)
{
    e.work = work;
    e.n_threads = work->block.x * work->block.y * work->block.z;
    e.n_blocks = (uint64_t)work->grid.x * work->grid.y * work->grid.z;
    e.block = 0;
    nt_emu_here.block_dim = work->block;
    nt_emu_here.grid_dim = work->grid;
    place_threads(e, work->block);
    shuffle_order(e);
    begin_shared(e.shared, work);
    begin_block(e);
    Fibre *first = e.current = next_fibre(e);
    switch_flow(&e.host, first);
    appear_as(e, nullptr);
    order_after(token_of(e, e.blocks_ever + 1));
    end_shared(e.shared);
    e.work = nullptr;
}

void KernelWork::run()
{
    if (acts_out_fault()) return;
    if (!engine) engine = make_engine();
    run_grid(*engine, this);
    order_before(this);
}

} // namespace emu
