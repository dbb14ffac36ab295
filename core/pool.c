/* A list of allocations: each block begins with a link to the one before it. */
#include "core/pool.h"

#include <stdlib.h>
#include <string.h>

struct nt_pool_node {
    struct nt_pool_node *next;
    max_align_t memory[];
};

void *nt_pool_alloc(nt_pool *pool, size_t n_bytes)
{
    struct nt_pool_node *node = calloc(1, sizeof *node + n_bytes);
    if (!node) return NULL;
    node->next = pool->first;
    pool->first = node;
    return node->memory;
}

char *nt_pool_text(nt_pool *pool, const char *text, size_t n_bytes)
{
    char *copy = nt_pool_alloc(pool, n_bytes + 1);
    return copy ? memcpy(copy, text, n_bytes) : NULL;
}

void nt_pool_free(nt_pool *pool)
{
    while (pool->first) {
        struct nt_pool_node *node = pool->first;
        pool->first = node->next;
        free(node);
    }
}
