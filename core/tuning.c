/* A list of "name = choice" pairs: the algorithms chosen by timing. Places in the list are found through a
 * table of hashes (FNV-1a, linear probing): there are few choices in our nets, but anything may stand in a
 * file. */
#include "core/op.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct choice {
    char *name, *value;
} choice;

struct nt_tuning {
    choice *choices; /* room for n_places / 2 */
    int n_choices;
    int *place; /* (n_places) index in choices + 1; 0: free. A power of 2, at most half of it taken */
    int n_places;
    bool may_time;
};

nt_status nt_tuning_create(nt_tuning **out, bool may_time)
{
    nt_tuning *tuning = calloc(1, sizeof *tuning);
    NT_CHECK_ALLOC(tuning, sizeof *tuning);
    tuning->may_time = may_time;
    *out = tuning;
    return NT_OK;
}

void nt_tuning_destroy(nt_tuning *tuning)
{
    if (!tuning) return;
    for (int i = 0; i < tuning->n_choices; i++) {
        free(tuning->choices[i].name);
        free(tuning->choices[i].value);
    }
    free(tuning->choices);
    free(tuning->place);
    free(tuning);
}

bool nt_tuning_may_time(const nt_tuning *tuning)
{
    return tuning->may_time;
}

/* Where the name is in the table, or would be. */
static int *place_of(const nt_tuning *tuning, const char *name)
{
    uint32_t h = 0x811c9dc5u;
    for (const unsigned char *c = (const unsigned char *)name; *c; c++)
        h = (h ^ *c) * 0x01000193u;
    for (;; h++) {
        int *place = &tuning->place[h & (uint32_t)(tuning->n_places - 1)];
        if (!*place || strcmp(tuning->choices[*place - 1].name, name) == 0) return place;
    }
}

static choice *find_choice(const nt_tuning *tuning, const char *name)
{
    int place = tuning->n_places > 0 ? *place_of(tuning, name) : 0;
    return place ? &tuning->choices[place - 1] : NULL;
}

/* Room for one choice more in list and table. */
static nt_status grow(nt_tuning *tuning)
{
    if (2 * (tuning->n_choices + 1) <= tuning->n_places) return NT_OK;
    int n = tuning->n_places ? 2 * tuning->n_places : 64;
    choice *choices = realloc(tuning->choices, (size_t)(n / 2) * sizeof *choices);
    NT_CHECK_ALLOC(choices, (size_t)(n / 2) * sizeof *choices);
    tuning->choices = choices;
    int *place = calloc((size_t)n, sizeof *place);
    NT_CHECK_ALLOC(place, (size_t)n * sizeof *place);
    free(tuning->place);
    tuning->place = place;
    tuning->n_places = n;
    for (int i = 0; i < tuning->n_choices; i++)
        *place_of(tuning, tuning->choices[i].name) = i + 1;
    return NT_OK;
}

const char *nt_tuning_get(const nt_tuning *tuning, const char *name)
{
    const choice *c = find_choice(tuning, name);
    return c ? c->value : NULL;
}

/* Takes `value` in every case. */
static nt_status add_choice(nt_tuning *tuning, const char *name, char *value)
{
    nt_status status = grow(tuning);
    char *copy = status == NT_OK ? strdup(name) : NULL;
    if (!copy) free(value);
    NT_TRY(status);
    NT_CHECK_ALLOC(copy, strlen(name) + 1);
    *place_of(tuning, name) = tuning->n_choices + 1;
    tuning->choices[tuning->n_choices++] = (choice){copy, value};
    return NT_OK;
}

nt_status nt_tuning_set(nt_tuning *tuning, const char *name, const char *value)
{
    char *copy = strdup(value);
    NT_CHECK_ALLOC(copy, strlen(value) + 1);
    choice *c = find_choice(tuning, name);
    if (!c) return add_choice(tuning, name, copy);
    free(c->value);
    c->value = copy;
    return NT_OK;
}

nt_status nt_tuning_text(const nt_tuning *tuning, char **out)
{
    size_t n_bytes = 0;
    FILE *stream = open_memstream(out, &n_bytes);
    NT_CHECK_ALLOC(stream, (size_t)1);
    for (int i = 0; i < tuning->n_choices; i++)
        fprintf(stream, "%s = %s\n", tuning->choices[i].name, tuning->choices[i].value);
    NT_CHECK(fclose(stream) == 0, NT_ERR_UNAVAILABLE, "out of memory while writing the tuning table");
    return NT_OK;
}

/* The line [text, text + n). */
static nt_status parse_line(nt_tuning *tuning, const char *text, size_t n)
{
    char line[512], name[NT_NAME_BYTES + 64], value[256];
    int used = 0;
    bool fits = n < sizeof line;
    if (fits) memcpy(line, text, n);
    line[fits ? n : 0] = '\0';
    NT_CHECK(sscanf(line, "%191s = %255[^\n]%n", name, value, &used) == 2 && used == (int)n, NT_ERR_DATA,
             "bad line in a tuning table: '%.*s'", n < 80 ? (int)n : 80, text);
    return nt_tuning_set(tuning, name, value);
}

nt_status nt_tuning_parse(nt_tuning *tuning, const char *text)
{
    while (*text) {
        size_t n = strcspn(text, "\n");
        NT_TRY(parse_line(tuning, text, n));
        text += n + (text[n] == '\n');
    }
    return NT_OK;
}
