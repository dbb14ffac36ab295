/* Classes that are given as words: the distinct words of a column, numbered in the order of their bytes. They
 * are collected in one reading and looked up in the next, so that the numbers do not depend on which came
 * first. */
#ifndef NT_DATASETS_CLASS_WORDS_H
#define NT_DATASETS_CLASS_WORDS_H

#include "core/status.h"

#include <stdint.h>

typedef struct nt_class_words {
    char **word; /* (n), sorted */
    int64_t n, cap;
} nt_class_words;

/* Adds a word unless it is there; NT_ERR_DATA for more than `most`. */
NT_MUST nt_status nt_class_words_add(nt_class_words *words, const char *word, int64_t most);

/* Its number, or -1. */
int64_t nt_class_words_find(const nt_class_words *words, const char *word);

void nt_class_words_free(nt_class_words *words);

#endif
