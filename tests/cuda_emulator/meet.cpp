/* Where threads of a block wait for one another: barriers, and the meetings of a warp (shuffles, votes).
 *
 * Stricter than recent devices on purpose: a barrier wants all threads of the block, also those that left
 * early, and the same barrier for all; a shuffle must not read a lane that takes no part. All of that is
 * undefined or a deadlock by the programming guide. A barrier and __syncwarp order memory, shuffles and votes
 * do not. */
#include "tests/cuda_emulator/engine.h"

#include <cstring>

namespace emu {

/* --- Barriers of a block --- */

static void open_barrier(Barrier &b, nt_emu_barrier kind, const char *file, int line)
{
    b.kind = kind;
    b.file = file;
    b.line = line;
    b.n_true = 0;
}

static void check_same_barrier(const Barrier &b, nt_emu_barrier kind, const char *file, int line)
{
    if (b.kind == kind && b.line == line && (b.file == file || strcmp(b.file, file) == 0)) return;
    nt_emu_die("divergence: threads of one block wait at different barriers, %s:%d and %s:%d", b.file, b.line,
               file, line);
}

/* Everybody is there. */
static void open_gate(Engine &e, Fibre *self)
{
    Barrier &b = e.barrier;
    const uint64_t result = b.kind == NT_EMU_BARRIER_AND  ? b.n_true == e.n_threads
                            : b.kind == NT_EMU_BARRIER_OR ? b.n_true > 0
                                                          : b.n_true;
    for (Fibre *f = b.waiting.head; f; f = f->next)
        f->result = result;
    self->result = result;
    e.runnable.append(&b.waiting);
    b.n_arrived = 0;
    b.phase++;
}

/* ThreadSanitizer sees warps: the last lane of a warp to come orders it before, the first to go on after. */
static void order_arrival(Barrier &b, Warp &w)
{
    if (++w.n_at_barrier < (unsigned)__builtin_popcount(w.exists)) return;
    w.n_at_barrier = 0;
    order_before(&b.order[b.phase & 1]);
}

static void order_departure(Barrier &b, Warp &w)
{
    if (w.phase != b.phase) order_after(&b.order[(b.phase - 1) & 1]);
    w.phase = b.phase;
}

/* --- Meetings of a warp --- */

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
    const bool votes = kind == NT_EMU_BALLOT || kind == NT_EMU_ANY || kind == NT_EMU_ALL;
    const uint64_t all = votes                       ? vote(w, lanes, kind)
                         : kind >= NT_EMU_REDUCE_ADD ? reduce(w, lanes, kind)
                                                     : 0;
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

using namespace emu;

extern "C" {

int nt_emu_barrier_wait(nt_emu_barrier kind, int predicate, const char *file, int line)
{
    Engine &e = *engine;
    Barrier &b = e.barrier;
    Fibre *self = e.current;
    Warp &w = e.warps[self->linear / WARP];
    if (b.n_arrived == 0)
        open_barrier(b, kind, file, line);
    else
        check_same_barrier(b, kind, file, line);
    b.n_true += predicate != 0;
    order_arrival(b, w);
    if (++b.n_arrived < e.n_threads) {
        b.waiting.push(self);
        park(e);
    } else {
        open_gate(e, self);
    }
    order_departure(b, w);
    return (int)self->result;
}

uint64_t nt_emu_warp_meet(nt_emu_meeting kind, unsigned mask, uint64_t value, int from, const char *file,
                          int line)
{
    Engine &e = *engine;
    Fibre *self = e.current;
    Warp &w = e.warps[self->linear / WARP];
    const unsigned lane = self->linear % WARP, lanes = mask & w.exists;
    if (!(mask >> lane & 1))
        nt_emu_die("at %s:%d: lane %u is not in its own mask 0x%08x", file, line, lane, mask);
    self->kind = kind;
    self->mask = mask;
    self->value = value;
    self->from = from;
    self->file = file;
    self->line = line;
    w.waiting |= 1u << lane;
    if (!all_there(w, lanes, self)) {
        park(e);
        return self->result;
    }
    conclude(w, lanes, kind);
    w.waiting &= ~lanes;
    for (unsigned m = lanes & ~(1u << lane); m; m &= m - 1)
        e.runnable.push(w.lanes[__builtin_ctz(m)]);
    return self->result;
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

void nt_emu_fence(void)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

void nt_emu_trap(void)
{
    nt_emu_die("__trap()");
}

} // extern "C"
