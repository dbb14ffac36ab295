/* Files: opening, creating, finishing, closing; the library's lock and its error text.
 *
 * The file is opened and looked at by us before HDF5 hears of it, and HDF5 works on our descriptor
 * (core/h5_driver.c): nothing between the check and the use can be swapped. HDF5 is told never to load
 * plug-ins and not to clean up at exit, where it would touch files that are already given up. */
#include "core/h5_private.h"

#include <hdf5.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

_Static_assert(sizeof(hid_t) == sizeof(int64_t), "HDF5 identifiers are 64-bit from 1.10 on");

static pthread_mutex_t library_lock = PTHREAD_MUTEX_INITIALIZER;
static bool library_tried, library_good;

void nt_h5_enter(void)
{
    pthread_mutex_lock(&library_lock);
    if (!library_tried) {
        library_tried = true;
        (void)H5dont_atexit(); /* fails if somebody else has used HDF5 before us: no harm */
        library_good = H5open() >= 0 && H5PLset_loading_state(0) >= 0;
    }
    (void)H5Eset_auto2(H5E_DEFAULT, NULL, NULL); /* per thread in thread-safe builds */
}

void nt_h5_leave(void)
{
    pthread_mutex_unlock(&library_lock);
}

static herr_t take_first(unsigned n, const H5E_error2_t *error, void *arg)
{
    if (n == 0 && error->desc) snprintf(arg, 256, "%s", error->desc);
    return 0;
}

const char *nt_h5_reason(void)
{
    static _Thread_local char text[256];
    snprintf(text, sizeof text, "no reason given");
    (void)H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, take_first, text);
    return text;
}

const char *nt_h5_version(void)
{
    static char text[32];
    unsigned major = 0, minor = 0, release = 0;
    nt_h5_enter();
    (void)H5get_libversion(&major, &minor, &release);
    snprintf(text, sizeof text, "%u.%u.%u", major, minor, release);
    nt_h5_leave();
    return text;
}

const char *nt_h5_path(const nt_h5 *file)
{
    return file->path;
}

int nt_h5_descriptor(const nt_h5 *file)
{
    return file->io->fd;
}

static const char *kind_of(mode_t mode)
{
    if (S_ISDIR(mode)) return "a folder";
    if (S_ISFIFO(mode)) return "a FIFO";
    if (S_ISSOCK(mode)) return "a socket";
    return "a device";
}

static const char *make_label(char label[NT_H5_LABEL_BYTES], const char *path)
{
    size_t n = strlen(path), keep = NT_H5_LABEL_BYTES - 4;
    snprintf(label, NT_H5_LABEL_BYTES, "%s%s", n > keep ? "..." : "", n > keep ? path + n - keep : path);
    return label;
}

/* Opens a regular file for reading without ever waiting for anybody. */
static nt_status open_regular(const char *path, int *fd, int64_t *size)
{
    struct stat st;
    char label[NT_H5_LABEL_BYTES];
    (void)make_label(label, path);
    NT_CHECK(stat(path, &st) == 0, NT_ERR_NO_INPUT, "cannot open '%s': %s", label, strerror(errno));
    NT_CHECK(S_ISREG(st.st_mode), NT_ERR_NO_INPUT, "cannot open '%s': it is %s, not a regular file", label,
             kind_of(st.st_mode));
    *fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    NT_CHECK(*fd >= 0, NT_ERR_NO_INPUT, "cannot open '%s': %s", label, strerror(errno));
    if (fstat(*fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        close(*fd);
        NT_FAIL(NT_ERR_NO_INPUT, "cannot open '%s': it is not a regular file", label);
    }
    *size = st.st_size;
    return NT_OK;
}

/* HDF5's own convention: writers hold an exclusive flock, readers a shared one. A file system without locks
 * is no obstacle. */
static bool lock_is_free(int fd, int how)
{
    const char *wanted = getenv("HDF5_USE_FILE_LOCKING");
    if (wanted && (strcmp(wanted, "FALSE") == 0 || strcmp(wanted, "0") == 0)) return true;
    return flock(fd, how | LOCK_NB) == 0 || errno != EWOULDBLOCK;
}

/* Takes over fd. */
static nt_status file_create(nt_h5 **out, const char *path, int fd, int64_t size, bool writing)
{
    nt_h5 *file = calloc(1, sizeof *file);
    nt_h5_io *io = calloc(1, sizeof *io);
    char *copy = strdup(path);
    if (!file || !io || !copy) {
        free(file), free(io), free(copy);
        close(fd);
        NT_FAIL(NT_ERR_UNAVAILABLE, "out of memory opening '%s'", path);
    }
    *io = (nt_h5_io){.fd = fd, .size = size, .writing = writing, .released = true};
    *file = (nt_h5){.path = copy, .io = io, .id = -1};
    (void)make_label(file->label, path);
    *out = file;
    return NT_OK;
}

/* False: HDF5 could not close its side (its words are in nt_h5_reason); io then stays behind, inert, because
 * HDF5 may come back to it. */
static bool close_library_side(nt_h5 *file)
{
    bool ok = file->id < 0 || H5Fclose(file->id) >= 0;
    file->id = -1;
    return ok;
}

static void file_free(nt_h5 *file)
{
    nt_h5_io *io = file->io;
    close(io->fd);
    io->fd = -1;
    io->dropping = true;
    if (io->released) free(io);
    free(file->path);
    free(file);
}

void nt_h5_close(nt_h5 *file)
{
    if (!file) return;
    nt_h5_enter();
    file->io->dropping = file->io->writing;
    (void)close_library_side(file);
    file_free(file);
    nt_h5_leave();
}

/* What a user may have meant who gives a file of another kind for data. */
static const char *hint_at_import(const char *path)
{
    static const char *const ends[] = {".csv", ".npy", ".npz", ".txt", ".gz", NULL};
    const size_t n = strlen(path);
    for (int i = 0; ends[i]; i++)
        if (n > strlen(ends[i]) && strcmp(path + n - strlen(ends[i]), ends[i]) == 0)
            return "; `nntrain import` makes one of tables, arrays, texts and pictures";
    return "";
}

static nt_status open_library_side(nt_h5 *file)
{
    NT_CHECK(library_good, NT_ERR_UNAVAILABLE, "the HDF5 library cannot be started");
    hid_t fapl = nt_h5_driver_access(file->io);
    NT_CHECK(fapl >= 0, NT_ERR_UNAVAILABLE, "HDF5 refuses our file driver: %s", nt_h5_reason());
    file->id = H5Fopen(file->path, H5F_ACC_RDONLY, fapl);
    const char *reason = file->id < 0 ? nt_h5_reason() : "";
    (void)H5Pclose(fapl);
    NT_CHECK(file->id >= 0, NT_ERR_DATA, "'%s' is not an HDF5 file, or is damaged or truncated (HDF5: %s)%s",
             file->label, reason, hint_at_import(file->label));
    return NT_OK;
}

nt_status nt_h5_open(nt_h5 **out, const char *path)
{
    int fd = -1;
    int64_t size = 0;
    *out = NULL;
    NT_TRY(open_regular(path, &fd, &size));
    nt_h5 *file;
    NT_TRY(file_create(&file, path, fd, size, false));
    nt_status status = NT_OK;
    if (size == 0)
        status = nt_error_set(NT_ERR_DATA, __FILE__, __LINE__, __func__, "'%s' is empty, not an HDF5 file",
                              file->label);
    else if (!lock_is_free(fd, LOCK_SH))
        status =
            nt_error_set(NT_ERR_NO_INPUT, __FILE__, __LINE__, __func__,
                         "'%s' is open for writing in another program: wait until that has closed it, or set "
                         "HDF5_USE_FILE_LOCKING=FALSE if the lock is left over",
                         file->label);
    if (status == NT_OK) {
        nt_h5_enter();
        status = open_library_side(file);
        nt_h5_leave();
    }
    if (status != NT_OK) {
        nt_h5_close(file);
        return nt_error_trail(status, __FILE__, __LINE__, __func__);
    }
    *out = file;
    return NT_OK;
}

/* No time stamps: the bytes of a file are a function of what is put into it. */
static nt_status create_library_side(nt_h5 *file)
{
    NT_CHECK(library_good, NT_ERR_UNAVAILABLE, "the HDF5 library cannot be started");
    hid_t fapl = nt_h5_driver_access(file->io), fcpl = H5Pcreate(H5P_FILE_CREATE);
    /* attributes of the root stay in its header, one checksummed block, unless they are large */
    if (fapl >= 0 && fcpl >= 0 && H5Pset_obj_track_times(fcpl, false) >= 0 &&
        H5Pset_attr_phase_change(fcpl, 64, 48) >= 0)
        file->id = H5Fcreate(file->path, H5F_ACC_TRUNC, fcpl, fapl);
    const char *reason = file->id < 0 ? nt_h5_reason() : "";
    if (fapl >= 0) (void)H5Pclose(fapl);
    if (fcpl >= 0) (void)H5Pclose(fcpl);
    NT_CHECK(file->id >= 0, NT_ERR_CREATE, "cannot create '%s' (HDF5: %s)", file->label, reason);
    return NT_OK;
}

nt_status nt_h5_create(nt_h5 **out, const char *path)
{
    *out = NULL;
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    char label[NT_H5_LABEL_BYTES];
    NT_CHECK(fd >= 0, NT_ERR_CREATE, "cannot create '%s': %s", make_label(label, path), strerror(errno));
    nt_h5 *file;
    NT_TRY(file_create(&file, path, fd, 0, true));
    (void)lock_is_free(fd, LOCK_EX); /* a new file: only keeps readers away until it is finished */
    nt_h5_enter();
    nt_status status = create_library_side(file);
    nt_h5_leave();
    if (status != NT_OK) {
        nt_h5_close(file);
        return nt_error_trail(status, __FILE__, __LINE__, __func__);
    }
    *out = file;
    return NT_OK;
}

/* Flush, close, fsync; the first failure counts. */
static nt_status finish_file(nt_h5 *file)
{
    bool flushed = !file->spoiled && H5Fflush(file->id, H5F_SCOPE_GLOBAL) >= 0;
    const char *reason = flushed ? "" : nt_h5_reason(); /* of the first failure */
    if (!flushed) file->io->dropping = true;
    bool closed = close_library_side(file);
    NT_CHECK(file->io->error == 0, NT_ERR_IO, "cannot write '%s': %s", file->label,
             strerror(file->io->error));
    NT_CHECK(flushed, NT_ERR_IO, "cannot write '%s' (HDF5: %s)", file->label, reason);
    NT_CHECK(closed, NT_ERR_IO, "cannot close '%s' (HDF5: %s)", file->label, nt_h5_reason());
    NT_CHECK(fsync(file->io->fd) == 0, NT_ERR_IO, "cannot write '%s' to the disk: %s", file->label,
             strerror(errno));
    return NT_OK;
}

nt_status nt_h5_finish(nt_h5 *file)
{
    nt_h5_enter();
    nt_status status = finish_file(file);
    file_free(file);
    nt_h5_leave();
    if (status != NT_OK) return nt_error_trail(status, __FILE__, __LINE__, __func__);
    return NT_OK;
}
