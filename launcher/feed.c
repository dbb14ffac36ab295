/* Cutting is pointer arithmetic on the prefetcher's buffers: pieces are views, nothing is copied. */
#include "launcher/feed.h"

#include <stdlib.h>

nt_status nt_feed_create(nt_feed **out, nt_dataset *dataset, const nt_comm *comm,
                         const nt_feed_options *options)
{
    nt_feed *feed = calloc(1, sizeof *feed);
    NT_CHECK_ALLOC(feed, sizeof *feed);
    feed->dataset = dataset;
    feed->options = *options;
    feed->rank = comm->rank;
    feed->size = comm->size;
    feed->piece = calloc((size_t)options->n_pieces, sizeof *feed->piece);
    nt_status status = NT_OK;
    if (!feed->piece)
        status = nt_error_set(NT_ERR_UNAVAILABLE, __FILE__, __LINE__, __func__, "out of memory");
    else
        status = nt_sampler_create(&feed->sampler, dataset->n_samples, options->batch, options->shuffle,
                                   options->drop_last, options->seed);
    if (status != NT_OK) {
        nt_feed_destroy(feed);
        NT_TRY(status);
    }
    if (options->joint) nt_sampler_cut_pieces(feed->sampler, (int)options->n_pieces);
    *out = feed;
    return NT_OK;
}

void nt_feed_destroy(nt_feed *feed)
{
    if (!feed) return;
    nt_feed_stop(feed);
    nt_sampler_destroy(feed->sampler);
    free(feed->piece);
    free(feed);
}

int64_t nt_feed_batches(const nt_feed *feed)
{
    return nt_sampler_batches(feed->sampler);
}

/* Samples of this rank in piece i of batch `index`, of which it has n. *skip: nobody has any, or, where the
 * ranks' pieces are their own business, this one has none. */
static int64_t piece_size(const nt_feed *feed, int64_t index, int rank, int64_t n, int i, bool *skip)
{
    int64_t begin, end, all;
    if (feed->options.joint) {
        int64_t mine = nt_sampler_piece_size(feed->sampler, index, i, rank, feed->size, &all);
        *skip = all == 0;
        return mine;
    }
    nt_comm_part(n, i, (int)feed->options.n_pieces, &begin, &end);
    *skip = begin == end;
    return end - begin;
}

static nt_status want_batch(const nt_feed *feed, nt_net *net, nt_mode mode, int64_t index, int rank)
{
    int64_t n = nt_sampler_slice_size(feed->sampler, index, rank, feed->size);
    for (int i = 0; i < (int)feed->options.n_pieces; i++) {
        bool skip;
        int64_t mine = piece_size(feed, index, rank, n, i, &skip);
        if (mine > 0) NT_TRY(nt_net_want(net, mode, mine));
    }
    return NT_OK;
}

nt_status nt_feed_want(nt_feed *feed, nt_net *net, nt_mode mode)
{
    feed->backend = nt_net_backend(net);
    NT_TRY(want_batch(feed, net, mode, 0, 0));
    NT_TRY(want_batch(feed, net, mode, 0, feed->rank));
    NT_TRY(want_batch(feed, net, mode, nt_feed_batches(feed) - 1, feed->rank));
    return NT_OK;
}

nt_status nt_feed_start(nt_feed *feed, int64_t epoch, int64_t index)
{
    NT_BUG_UNLESS(!feed->prefetch, "nt_feed_start: already reading");
    const nt_prefetch_options options = {.augment = feed->options.augment,
                                         .training = feed->options.training,
                                         .epoch = epoch,
                                         .index = index,
                                         .depth = feed->options.depth,
                                         .backend = feed->backend};
    NT_TRY(
        nt_prefetch_create(&feed->prefetch, feed->dataset, feed->sampler, feed->rank, feed->size, &options));
    return NT_OK;
}

void nt_feed_stop(nt_feed *feed)
{
    if (!feed || !feed->prefetch) return;
    nt_prefetch_destroy(feed->prefetch);
    feed->prefetch = NULL;
}

/* Cuts the present slice. */
static void cut_slice(nt_feed *feed)
{
    const nt_slice *slice = &feed->slice;
    int64_t begin = 0;
    feed->n_pieces = 0;
    for (int i = 0; i < (int)feed->options.n_pieces; i++) {
        bool skip;
        int64_t n = piece_size(feed, slice->index, feed->rank, slice->n, i, &skip);
        if (skip) continue;
        feed->piece[feed->n_pieces++] = (nt_batch){
            .n = n,
            .x = (const char *)slice->x + (size_t)begin * slice->x_bytes,
            .target =
                slice->target ? (const char *)slice->target + (size_t)begin * slice->target_bytes : NULL,
            .sample = slice->sample + begin,
            .epoch = slice->epoch};
        begin += n;
    }
}

nt_status nt_feed_next(nt_feed *feed)
{
    NT_BUG_UNLESS(feed->prefetch, "nt_feed_next: not reading");
    if (feed->backend) NT_TRY(nt_backend_unstage(feed->backend));
    NT_TRY(nt_prefetch_next(feed->prefetch, &feed->slice));
    cut_slice(feed);
    return NT_OK;
}
