/* A pool: memory of many small things that live and die together, so that the owner frees them in one call
 * and nobody else has to. */
#ifndef NT_CORE_POOL_H
#define NT_CORE_POOL_H

#include <stddef.h>

/* Zero-initialised is empty. */
typedef struct nt_pool {
    struct nt_pool_node *first;
} nt_pool;

/* Zero-filled memory for anything, or NULL. */
void *nt_pool_alloc(nt_pool *pool, size_t n_bytes);

/* A copy of n_bytes of text with NUL behind them, or NULL. */
char *nt_pool_text(nt_pool *pool, const char *text, size_t n_bytes);

/* Frees all of it; the pool is empty then. */
void nt_pool_free(nt_pool *pool);

#endif
