/* The emulator's inside: devices, streams, work, marks, and who offers what. Private to this folder.
 *
 * A stream is a queue of operations served by one thread of its own; an operation is a piece of work that
 * waits for marks and sets marks. Everything that orders (events, the legacy default stream, synchronisation,
 * graphs) is made of marks. One lock guards all of it; work runs without the lock. */
#ifndef NT_EMU_RUNTIME_H
#define NT_EMU_RUNTIME_H

#include "tests/cuda_emulator/hidden.h"
#include "tests/cuda_emulator/include/nt_emu.h"
#include "tests/cuda_emulator/lock.h"
#include "tests/cuda_emulator/order.h"
#include "tests/cuda_emulator/queue.h"

namespace emu {

extern Lock lock; /* guards all structures below */

/* A point in a stream's work: set once, when everything before it is done. */
struct Mark {
    bool done = false;
    int64_t time_ns = 0;
    Cond hosts;                   /* host threads that wait for it */
    Vector<CUstream_st *> queues; /* streams whose first operation waits for it */
};
using MarkRef = std::shared_ptr<Mark>;

/* What an operation does. Shared, because a captured graph runs it again and again. */
struct Work {
    const char *name;
    bool waits_outside = false; /* may wait for another process */
    bool is_host = false;       /* a host function: sees no device memory */
    explicit Work(const char *n) : name(n)
    {
    }
    virtual ~Work() = default;
    virtual void run() = 0;
};
using WorkRef = std::shared_ptr<Work>;

struct Op : Hidden {
    WorkRef work; /* may be empty: only waits and signals */
    Vector<MarkRef> waits, signals;
    Vector<CUstream_st *> after; /* legacy default stream: all that these did, for order.h only */
};

struct Device : Hidden {
    int index;    /* as the process sees it */
    int physical; /* on this machine */
    int pkey;     /* memory protection key, -1: none */
    cudaError_t sticky = cudaSuccess;
    CUstream_st *null_stream = nullptr;
    Vector<CUstream_st *> streams; /* live or finishing, the null stream too */
    size_t used_bytes = 0;
    int n_busy = 0; /* operations given and not done */
};

struct Capture; /* graph.cpp */

} // namespace emu

struct CUstream_st : emu::Hidden {
    emu::Device *device;
    unsigned flags;
    int priority;
    int number;
    emu::Deque<emu::Op *> queue;
    emu::Cond work;        /* the serving thread sleeps here */
    bool serving = false;  /* has its thread */
    bool closing = false;  /* destroyed by its owner: ends when empty */
    bool running = false;  /* its first operation runs */
    bool internal = false; /* a lane of a graph */
    uint64_t rank = 0;     /* seeded scheduler: who goes first */
    bool granted = false;  /* seeded scheduler: may run its first operation */
    emu::Capture *capture = nullptr;
    emu::Vector<int> tail; /* capture: nodes that the next one depends on */
    bool blocking() const
    {
        return !(flags & cudaStreamNonBlocking) && this != device->null_stream;
    }
};

struct CUevent_st : emu::Hidden {
    unsigned flags;
    emu::MarkRef mark;                 /* of the latest record; empty: never recorded */
    unsigned long long capture_id = 0; /* recorded within this capture, after these nodes; 0: none */
    emu::Vector<int> nodes;
};

namespace emu {

enum class Leaks { ignore, report, fail };

struct Config {
    Vector<int> devices; /* visible ones, by physical index */
    int n_physical;
    size_t memory_bytes;
    int sm_count;
    int driver_version; /* 0: none */
    bool seeded;
    uint64_t seed;
    int64_t fail_alloc, fail_launch, hang_launch; /* 0: never; else the how-manieth */
    bool pageable_waits;
    Leaks leaks;
};

/* device.cpp */
const Config &config();
cudaError_t enter();                 /* start of each entry point: driver, devices, sticky error */
cudaError_t enter_lightly();         /* as enter, but a broken device is no obstacle */
cudaError_t fail(cudaError_t error); /* makes it the last error of this thread; returns it */
Device *current_device();
Device *device_at(int index);
int n_devices();
int64_t clock_ns();

/* report.cpp */
void catch_faults(); /* (again) puts the handler of SIGSEGV and SIGBUS in place */
void catch_faults_on_this_thread();
void forget_faults_on_this_thread();
void watch_exit();

/* memory.cpp */
struct Place { /* what is known of an address */
    bool device = false, pinned = false, freed = false, guard = false;
    Device *owner = nullptr;
    char *data = nullptr; /* of the allocation */
    size_t n_bytes = 0;
    uint64_t number = 0; /* the how-manieth allocation */
};
Place place_of(const void *ptr); /* with the lock taken */
bool holds(const Place &p, const void *ptr, size_t n_bytes);
void open_memory(Device *device);  /* this thread may touch it ... */
void close_memory(Device *device); /* ... and no longer */
void memory_busy(Device *device);  /* with the lock taken: the device has work, ... */
void memory_idle(Device *device);  /* ... and has none left (where there are no keys) */
int assign_key();
const char *protection_name();
int count_leaks(bool say);
void free_everything(Device *device);
void check_canaries(Device *device);

/* stream.cpp */
extern __thread CUstream_st *serving; /* the stream that this thread serves, or NULL */
cudaError_t resolve(cudaStream_t handle, CUstream_st **stream); /* with the lock taken */
void give(CUstream_st *stream, Op *op);                         /* with the lock taken; not captured */
cudaError_t submit(CUstream_st *stream, WorkRef work);          /* with the lock taken; captured if it must */
MarkRef mark_tail(CUstream_st *stream);                         /* empty: nothing to wait for */
void wait_for(const MarkRef &mark);                             /* with the lock taken, given meanwhile */
bool poll(const MarkRef &mark);
void wait_for_streams(const Vector<CUstream_st *> &streams);
void drain(Device *device);
int count_stream_leaks(bool say);
CUstream_st *make_stream(Device *device, unsigned flags, int priority);
void close_stream(CUstream_st *stream);

/* schedule.cpp: the seeded scheduler; no-ops without a seed. All with the lock taken. */
bool may_run(CUstream_st *stream);
bool ready(const CUstream_st *stream);
void started(CUstream_st *stream, const Op *op);
void finished(const Op *op);
void let_others_run(); /* what runs now will not end soon */
bool run_something();  /* true: something ran or runs (the lock was given meanwhile) */
void nudge();          /* lets chance run some of the work now */
uint64_t draw();

/* graph.cpp. All with the lock taken. */
cudaError_t capture_node(CUstream_st *stream, WorkRef work);
cudaError_t capture_record(CUevent_st *event, CUstream_st *stream);
cudaError_t capture_wait(CUstream_st *stream, CUevent_st *event);
cudaError_t forbid_in_capture(CUstream_st *stream);      /* calls about a stream that capture cannot do */
cudaError_t forbid_in_any_capture(const Device *device); /* calls about a whole device */
cudaError_t forbid_unsafe();                      /* calls that are unsafe while this thread captures */
cudaError_t forbid_implicit(CUstream_st *stream); /* the legacy stream while a blocking stream captures */
int count_graph_leaks(bool say);

/* block.cpp, launch.cpp */
bool acts_out_fault();
void end_engine();                                 /* frees what this host thread ran kernels with */
bool overflows_stack(const void *address);         /* of the kernel's thread that runs on this host thread */
void describe_running(char *text, size_t n_bytes); /* kernel, block and thread of this host thread */

} // namespace emu
#endif
