/* An HDF5 file driver on a descriptor that we opened ourselves.
 *
 * HDF5's own driver takes a path, so what it opens need not be what we checked; it fills reads beyond the end
 * of a file with zeros; and after a failed write it cannot close the file, keeps the dirty pages and tries
 * again at exit. This one works on a descriptor, treats a read beyond the end as an error, and remembers the
 * first failed write and drops all later ones: HDF5 then closes cleanly, and nt_h5_finish reports the error.
 * The alternative, HDF5's core driver with one write of the whole image, would hold every checkpoint in
 * memory twice. */
#include "core/h5_private.h"

#include <hdf5.h>
#if H5_VERSION_GE(1, 13, 0)
#include <H5FDdevelop.h>
#endif

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct driver_info {
    nt_h5_io *io;
} driver_info;

typedef struct driver_file {
    H5FD_t base; /* first: HDF5's part */
    nt_h5_io *io;
    haddr_t eoa;
} driver_file;

static nt_h5_io *io_of(const H5FD_t *file)
{
    return ((const driver_file *)file)->io;
}

static H5FD_t *driver_open(const char *name, unsigned flags, hid_t fapl, haddr_t max_address)
{
    (void)name, (void)flags, (void)max_address;
    const driver_info *info = H5Pget_driver_info(fapl);
    driver_file *file = info ? calloc(1, sizeof *file) : NULL;
    if (!file) return NULL;
    file->io = info->io;
    file->io->released = false;
    return &file->base;
}

static herr_t driver_close(H5FD_t *file)
{
    io_of(file)->released = true;
    free(file);
    return 0;
}

static herr_t driver_query(const H5FD_t *file, unsigned long *flags)
{
    (void)file;
    *flags = H5FD_FEAT_AGGREGATE_METADATA | H5FD_FEAT_ACCUMULATE_METADATA | H5FD_FEAT_AGGREGATE_SMALLDATA;
#ifdef H5FD_FEAT_DEFAULT_VFD_COMPATIBLE
    *flags |= H5FD_FEAT_DEFAULT_VFD_COMPATIBLE;
#endif
    return 0;
}

static haddr_t driver_get_eoa(const H5FD_t *file, H5FD_mem_t type)
{
    (void)type;
    return ((const driver_file *)file)->eoa;
}

static herr_t driver_set_eoa(H5FD_t *file, H5FD_mem_t type, haddr_t address)
{
    (void)type;
    ((driver_file *)file)->eoa = address;
    return 0;
}

static haddr_t driver_get_eof(const H5FD_t *file, H5FD_mem_t type)
{
    (void)type;
    return (haddr_t)io_of(file)->size;
}

static void push_error(const char *text)
{
    (void)H5Epush2(H5E_DEFAULT, __FILE__, __func__, __LINE__, H5E_ERR_CLS, H5E_IO, H5E_READERROR, "%s", text);
}

static herr_t driver_read(H5FD_t *file, H5FD_mem_t type, hid_t dxpl, haddr_t address, size_t n_bytes,
                          void *buffer)
{
    (void)type, (void)dxpl;
    nt_h5_io *io = io_of(file);
    char *to = buffer;
    if (io->dropping) memset(buffer, 0, n_bytes); /* what was dropped cannot be read back */
    if (address > (haddr_t)io->size || n_bytes > (haddr_t)io->size - address) {
        push_error("a read goes past the end of the file");
        return io->dropping ? 0 : -1;
    }
    while (n_bytes > 0) {
        ssize_t n = pread(io->fd, to, n_bytes, (off_t)address);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) {
            push_error(n < 0 ? strerror(errno) : "the file has become shorter");
            return -1;
        }
        to += n, address += (haddr_t)n, n_bytes -= (size_t)n;
    }
    return 0;
}

static void fail_write(nt_h5_io *io, int error)
{
    io->error = error;
    io->dropping = true;
}

static herr_t driver_write(H5FD_t *file, H5FD_mem_t type, hid_t dxpl, haddr_t address, size_t n_bytes,
                           const void *buffer)
{
    (void)type, (void)dxpl;
    nt_h5_io *io = io_of(file);
    const char *from = buffer;
    while (n_bytes > 0 && !io->dropping) {
        ssize_t n = pwrite(io->fd, from, n_bytes, (off_t)address);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) {
            fail_write(io, n < 0 ? errno : EIO);
            break;
        }
        from += n, address += (haddr_t)n, n_bytes -= (size_t)n;
        if ((int64_t)address > io->size) io->size = (int64_t)address;
    }
    return 0;
}

/* The file must reach up to the end of HDF5's address space, or its next reader calls it truncated. */
static herr_t driver_truncate(H5FD_t *file, hid_t dxpl, hbool_t closing)
{
    (void)dxpl, (void)closing;
    nt_h5_io *io = io_of(file);
    haddr_t eoa = ((driver_file *)file)->eoa;
    if (!io->writing || io->dropping || eoa == HADDR_UNDEF || (int64_t)eoa == io->size) return 0;
    int rc;
    do
        rc = ftruncate(io->fd, (off_t)eoa);
    while (rc != 0 && errno == EINTR);
    if (rc != 0)
        fail_write(io, errno);
    else
        io->size = (int64_t)eoa;
    return 0;
}

static const H5FD_class_t driver_class = {
#if H5_VERSION_GE(1, 13, 0)
    .version = H5FD_CLASS_VERSION,
    .value = (H5FD_class_value_t)300, /* of the range for unregistered drivers */
#endif
    .name = "nntrain",
    .maxaddr = (haddr_t)INT64_MAX,
    .fc_degree = H5F_CLOSE_STRONG,
    .fapl_size = sizeof(driver_info),
    .open = driver_open,
    .close = driver_close,
    .query = driver_query,
    .get_eoa = driver_get_eoa,
    .set_eoa = driver_set_eoa,
    .get_eof = driver_get_eof,
    .read = driver_read,
    .write = driver_write,
    .truncate = driver_truncate,
    .fl_map = H5FD_FLMAP_DICHOTOMY,
};

int64_t nt_h5_driver_access(nt_h5_io *io)
{
    static hid_t driver = -1;
    if (driver < 0) driver = H5FDregister(&driver_class);
    if (driver < 0) return -1;
    driver_info info = {.io = io};
    hid_t fapl = H5Pcreate(H5P_FILE_ACCESS);
    if (fapl < 0) return -1;
    bool ok = H5Pset_driver(fapl, driver, &info) >= 0 && H5Pset_fclose_degree(fapl, H5F_CLOSE_STRONG) >= 0;
    /* One format for HDF5 1.10 and 1.14: the newest that both know. */
    ok = ok && H5Pset_libver_bounds(fapl, H5F_LIBVER_V110, H5F_LIBVER_V110) >= 0;
    /* Readers decode chunks themselves and need no chunk cache. */
    if (!io->writing) ok = ok && H5Pset_cache(fapl, 0, 521, 0, 1.0) >= 0;
    if (ok) return fapl;
    (void)H5Pclose(fapl);
    return -1;
}
