/* A sorted array, searched by halves: the words are few and looked up for every row. */
#include "datasets/class_words.h"

#include <stdlib.h>
#include <string.h>

/* Where the word is, or belongs. */
static int64_t place_of(const nt_class_words *words, const char *word, bool *found)
{
    int64_t low = 0, high = words->n;
    *found = false;
    while (low < high && !*found) {
        int64_t middle = low + (high - low) / 2;
        int order = strcmp(words->word[middle], word);
        if (order == 0) *found = true;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return *found ? high : low;
}

nt_status nt_class_words_add(nt_class_words *words, const char *word, int64_t most)
{
    bool found;
    int64_t at = place_of(words, word, &found);
    if (found) return NT_OK;
    NT_CHECK(words->n < most, NT_ERR_DATA, "more than %lld classes", (long long)most);
    if (words->n == words->cap) {
        int64_t cap = words->cap > 0 ? 2 * words->cap : 16;
        char **grown = realloc(words->word, (size_t)cap * sizeof *grown);
        NT_CHECK_ALLOC(grown, (size_t)cap * sizeof *grown);
        words->word = grown;
        words->cap = cap;
    }
    char *copy = strdup(word);
    NT_CHECK_ALLOC(copy, strlen(word));
    memmove(&words->word[at + 1], &words->word[at], (size_t)(words->n - at) * sizeof *words->word);
    words->word[at] = copy;
    words->n++;
    return NT_OK;
}

int64_t nt_class_words_find(const nt_class_words *words, const char *word)
{
    bool found;
    int64_t at = place_of(words, word, &found);
    return found ? at : -1;
}

void nt_class_words_free(nt_class_words *words)
{
    for (int64_t i = 0; i < words->n; i++)
        free(words->word[i]);
    free(words->word);
    *words = (nt_class_words){0};
}
