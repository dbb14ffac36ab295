/* The [run] section, and the list of all sections that a config file may hold. */
#ifndef NT_LAUNCHER_OPTIONS_H
#define NT_LAUNCHER_OPTIONS_H

#include "core/config.h"

typedef struct nt_run_options { /* [run] */
    const char *name;           /* NULL: from the config file's name, see nt_run_name */
    const char *output;         /* run folder; NULL: runs/<name> */
    int64_t seed;
    int64_t epochs;
    int64_t steps;      /* 0: by epochs */
    int device;         /* index into nt_run_devices */
    int64_t threads;    /* a rank; 0: cores / local ranks */
    bool autotune;      /* time algorithms at start-up */
    int64_t accumulate; /* pieces that a rank's slice is computed in; 0: one */
    double bucket_mb;   /* of the gradient buckets in the middle */
    int nan_policy;     /* nt_nan_policy */
    bool sync_batchnorm;
    int64_t zero;           /* 1: optimizer state in shards */
    int64_t log_every;      /* steps between rows and lines */
    nt_interval validate;   /* between evaluations of the valid part */
    int metric;             /* nt_metric: what an evaluation is judged by */
    int64_t stop_after;     /* evaluations without a better metric; 0: never */
    double stop_delta;      /* a better one is less by more than this */
    double watchdog_s;      /* seconds without progress; 0: off */
    int64_t check_replicas; /* steps between comparisons of the replicas; 0: never */
    bool pin;               /* each rank to its own cores */
    bool tensorboard;       /* also event files in the run folder */
    nt_interval histograms; /* between histograms of the weights in them */
    int precision;          /* nt_precision */
    int wire;               /* nt_wire */
    int cuda_graph;         /* nt_cuda_graph */
    bool debug_sync;        /* wait for every launch */
} nt_run_options;

typedef enum nt_metric { NT_METRIC_LOSS, NT_METRIC_ACCURACY } nt_metric;
typedef enum nt_wire { NT_WIRE_FP32, NT_WIRE_BF16 } nt_wire;
typedef enum nt_cuda_graph { NT_CUDA_GRAPH_AUTO, NT_CUDA_GRAPH_YES, NT_CUDA_GRAPH_NO } nt_cuda_graph;

extern const nt_section nt_run_section;
extern const char *const nt_run_devices[];

/* All fixed sections, NULL-terminated: the argument of nt_config_load. */
extern const nt_section *const nt_all_sections[];

/* The name of a run: as given ([A-Za-z0-9._-]{1,64}), else the config file's name without ending, other
 * characters replaced by '_'. NT_ERR_CONFIG for a given name that is not safe in paths and job scripts. */
NT_MUST nt_status nt_run_name(const nt_config *config, const char *config_path, char *name, size_t cap);

/* The run folder: as given, else runs/<name>. */
NT_MUST nt_status nt_run_output(const nt_config *config, const char *config_path, char *path, size_t cap);

#endif
