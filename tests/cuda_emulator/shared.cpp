/* Shared memory: the dynamic part, and what is known of __shared__ variables.
 *
 * A __shared__ variable is a thread-local one, local to a function; the program's own symbol table tells
 * where they all lie and how large they are. They are poisoned before each block. Which ones a kernel uses is
 * not written anywhere: it is learned from what its blocks leave behind, so that only those are poisoned
 * again and counted against the 48 KB. A stripped program has no such symbols; then only dynamic memory is
 * poisoned.
 *
 * Dynamic shared memory ends at an inaccessible page, and AddressSanitizer knows its bounds. */
#include "tests/cuda_emulator/engine.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <elf.h>
#include <link.h>
#include <sys/mman.h>

namespace emu {

constexpr int POISON = 0xFF; /* NaN */
constexpr size_t ROOM = (OPTIN_SHARED + PAGE - 1) / PAGE * PAGE;

struct Variable {
    size_t offset, n_bytes; /* within the program's thread-local segment */
};

/* What is known of a kernel's use of them. */
struct Use {
    Vector<char> touched; /* by variable */
    size_t n_bytes = 0;   /* static memory that it was seen to use */
    unsigned n_scans = 0;
};

struct Shared : Hidden {
    char *room, *dynamic;
    size_t dynamic_bytes;
    char *base; /* of this thread's thread-local segment */
    Use *use;   /* of the kernel that runs */
    const KernelWork *work;
};

static auto &variables = *new Vector<Variable>;
static auto &uses = *new Map<const void *, Use *>; /* by kernel; kept for ever */

/* --- Finding the variables --- */

static bool read_at(FILE *file, uint64_t offset, void *to, size_t n_bytes)
{
    return fseek(file, (long)offset, SEEK_SET) == 0 && fread(to, 1, n_bytes, file) == n_bytes;
}

/* Function-local thread-locals have mangled names that begin with _ZZ (Itanium C++ ABI 5.1.4.6). */
static void take_symbols(FILE *file, const Elf64_Shdr &table, const Elf64_Shdr &strings)
{
    Vector<Elf64_Sym> symbols(table.sh_size / sizeof(Elf64_Sym));
    Vector<char> names(strings.sh_size + 4, 0);
    if (!read_at(file, table.sh_offset, symbols.data(), symbols.size() * sizeof(Elf64_Sym)) ||
        !read_at(file, strings.sh_offset, names.data(), strings.sh_size))
        return;
    for (const Elf64_Sym &s : symbols)
        if (ELF64_ST_TYPE(s.st_info) == STT_TLS && s.st_shndx != SHN_UNDEF && s.st_name < strings.sh_size &&
            !strncmp(&names[s.st_name], "_ZZ", 3))
            variables.push_back(Variable{s.st_value, s.st_size});
    std::sort(variables.begin(), variables.end(),
              [](const Variable &a, const Variable &b) { return a.offset < b.offset; });
}

static void find_variables()
{
    FILE *file = fopen("/proc/self/exe", "rb");
    Elf64_Ehdr head;
    if (!file) return;
    if (read_at(file, 0, &head, sizeof head) && !memcmp(head.e_ident, ELFMAG, SELFMAG) &&
        head.e_ident[EI_CLASS] == ELFCLASS64) {
        Vector<Elf64_Shdr> sections(head.e_shnum);
        if (read_at(file, head.e_shoff, sections.data(), sections.size() * sizeof(Elf64_Shdr)))
            for (const Elf64_Shdr &s : sections)
                if (s.sh_type == SHT_SYMTAB && s.sh_link < sections.size())
                    take_symbols(file, s, sections[s.sh_link]);
    }
    fclose(file);
}

/* The program itself is the first object. */
static int take_segment(dl_phdr_info *info, size_t, void *base)
{
    *static_cast<char **>(base) = static_cast<char *>(info->dlpi_tls_data);
    return 1;
}

/* --- Poison --- */

static void fill(const Shared &s, const Variable &v)
{
    memset(s.base + v.offset, POISON, v.n_bytes);
}

static bool is_touched(const Shared &s, const Variable &v)
{
    const char *p = s.base + v.offset;
    return v.n_bytes > 0 && (*p != (char)POISON || memcmp(p, p + 1, v.n_bytes - 1) != 0);
}

/* Looks for variables that the kernel used and that were not known of it. */
static void scan(Shared &s)
{
    Held held(lock);
    Use &use = *s.use;
    use.n_scans++;
    for (size_t i = 0; i < variables.size(); i++) {
        if (use.touched[i] || !is_touched(s, variables[i])) continue;
        use.touched[i] = 1;
        use.n_bytes += variables[i].n_bytes;
    }
    if (use.n_bytes > STATIC_SHARED ||
        use.n_bytes + s.work->shared_bytes > dynamic_limit(s.work->kernel.entry))
        nt_emu_die("kernel %s uses %zu bytes of static and %zu of dynamic shared memory: more than the "
                   "device gives it",
                   s.work->name, use.n_bytes, s.work->shared_bytes);
}

Shared *make_shared_memory()
{
    Held held(lock);
    static bool looked;
    if (!looked) find_variables();
    looked = true;
    Shared *s = new Shared();
    s->room = static_cast<char *>(mmap(nullptr, ROOM + PAGE, PROT_READ | PROT_WRITE,
                                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    if (s->room == MAP_FAILED || mprotect(s->room + ROOM, PAGE, PROT_NONE) != 0)
        nt_emu_die("no memory for shared memory");
    forbid(s->room, ROOM + PAGE);
    s->dynamic = s->room + ROOM;
    dl_iterate_phdr(take_segment, &s->base);
    for (const Variable &v : variables)
        fill(*s, v);
    return s;
}

void free_shared_memory(Shared *s)
{
    permit(s->room, ROOM + PAGE);
    munmap(s->room, ROOM + PAGE);
    delete s;
}

static void place_dynamic(Shared &s, size_t n_bytes)
{
    if (n_bytes != s.dynamic_bytes) {
        forbid(s.dynamic, s.dynamic_bytes);
        s.dynamic_bytes = n_bytes;
        s.dynamic = s.room + ROOM - (n_bytes + 15) / 16 * 16; /* its end against the inaccessible page */
        permit(s.dynamic, n_bytes);
    }
    memset(s.dynamic, POISON, n_bytes);
}

void begin_shared(Shared *s, const KernelWork *work)
{
    s->work = work;
    place_dynamic(*s, work->shared_bytes);
    Held held(lock);
    Use *&use = uses[work->kernel.entry];
    if (!use) {
        use = new Use();
        use->touched.assign(variables.size(), 0);
    }
    s->use = use;
}

void poison_shared(Shared *s)
{
    if (s->use->n_scans == 0) scan(*s);
    memset(s->dynamic, POISON, s->dynamic_bytes);
    for (size_t i = 0; i < variables.size(); i++)
        if (s->use->touched[i]) fill(*s, variables[i]);
}

/* The first launches of a kernel are looked at, and one in a hundred of the others. */
void end_shared(Shared *s)
{
    if (s->use->n_scans++ < 8 || s->use->n_scans % 100 == 0) scan(*s);
    for (size_t i = 0; i < variables.size(); i++)
        if (s->use->touched[i]) fill(*s, variables[i]);
}

} // namespace emu

extern "C" void *nt_emu_dynamic_shared(void)
{
    return emu::engine->shared->dynamic;
}
