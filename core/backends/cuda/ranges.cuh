/* Many stretches of flat arrays in one launch: a table of them is a kernel's argument, by value, so that it
 * needs no memory and is recorded with the launch. A block takes `per_block` elements of one stretch, so what
 * it computes depends on its stretch alone and not on the others of the launch.
 *
 * The alternative, a launch for each, costs some 2 us a stretch, and a ResNet-50 has hundreds: as long as the
 * memory takes for the whole update. */
#ifndef NT_CORE_BACKENDS_CUDA_RANGES_CUH
#define NT_CORE_BACKENDS_CUDA_RANGES_CUH

#include "core/backends/cuda/device.cuh"
#include "core/stretch.h"

constexpr int NT_TABLE_RANGES = 96;

/* first[r]: the block that begins range r; first[n]: the number of blocks. Arguments of a kernel end at 4096
 * bytes. */
struct nt_table {
    int n, first[NT_TABLE_RANGES + 1];
    nt_stretch range[NT_TABLE_RANGES];
};

static_assert(sizeof(nt_table) + sizeof(nt_cuda_update) + 8 * sizeof(void *) <= 4096,
              "the table is too long");

/* What a block has to do: [begin, end), of the range number `range`. */
struct nt_task {
    int64_t begin, end;
    int range;
};

static inline __device__ nt_task nt_own_task(const nt_table &t, int64_t per_block)
{
    const int block = (int)blockIdx.x;
    int low = 0, high = t.n;
    while (high - low > 1) {
        const int middle = (low + high) / 2;
        if (t.first[middle] <= block)
            low = middle;
        else
            high = middle;
    }
    const int64_t stop = t.range[low].begin + t.range[low].n;
    const int64_t begin = t.range[low].begin + (block - t.first[low]) * per_block;
    return {begin, begin + per_block < stop ? begin + per_block : stop, low};
}

/* Calls launch(table, blocks) as often as it takes for n ranges and at most max_blocks blocks at a time; a
 * range may be cut between blocks, into pieces of consecutive calls. */
template <typename Launch>
static inline void nt_launch_ranges(const nt_stretch *range, int n, int64_t per_block, int64_t max_blocks,
                                    Launch launch)
{
    nt_table t = {};
    for (int r = 0; r < n; r++)
        for (int64_t done = 0; done < range[r].n;) {
            if (t.n == NT_TABLE_RANGES || t.first[t.n] == max_blocks) {
                launch(t, (unsigned)t.first[t.n]);
                t = {};
            }
            const int64_t left = range[r].n - done, room = max_blocks - t.first[t.n];
            const int64_t wanted = (left + per_block - 1) / per_block, blocks = wanted < room ? wanted : room;
            const int64_t count = blocks * per_block < left ? blocks * per_block : left;
            t.range[t.n] = {range[r].begin + done, count, range[r].other};
            t.first[t.n + 1] = t.first[t.n] + (int)blocks;
            t.n++;
            done += count;
        }
    if (t.n > 0) launch(t, (unsigned)t.first[t.n]);
}

#endif
