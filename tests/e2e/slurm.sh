#!/usr/bin/env bash
# shellcheck disable=SC1091,SC2154
# Fault 90: scripts/slurm/train.sbatch under a SLURM of one node that belongs to this test alone: own daemons, own key,
# own ports, everything in the temporary folder. A job trains to the end; one that gets USR1, from scancel and from
# the time limit, checkpoints, is requeued and ends like one that was left alone; what has a mistake or was cancelled
# does not come back. Skipped (77) where SLURM with PMIx is not installed: apt install slurm-wlm munge.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
export PATH=$PATH:/usr/sbin:/sbin
batch=$source_dir/scripts/slurm/train.sbatch

skip() {
    echo "SKIPPED: $*; the SLURM template was NOT tested (apt install slurm-wlm munge)" >&2
    exit 77
}
for tool in munged slurmctld slurmd sbatch srun scontrol; do
    command -v $tool >/dev/null || skip "there is no $tool"
done

# --- the cluster ---

cluster=$work/cluster
export SLURM_CONF=$cluster/slurm.conf

# Two ports in a row that nobody listens on.
free_port() {
    local port
    for _ in $(seq 50); do
        port=$((20000 + RANDOM % 10000))
        (: </dev/tcp/127.0.0.1/$port) 2>/dev/null || (: </dev/tcp/127.0.0.1/$((port + 1))) 2>/dev/null ||
            { echo $port && return; }
    done
    fail "no free port"
}

# cred_expire is also how long a requeued job waits; OverSubscribe lets jobs share the two processors.
write_configuration() {
    local port host
    port=$(free_port)
    host=$(hostname -s)
    mkdir -p "$cluster/state" "$cluster/spool"
    chmod 755 "$work" "$cluster"
    (umask 077 && head -c 128 /dev/urandom >"$cluster/key")
    # Version 23.11 and later load a control group plugin unless told not to; earlier ones do not know the word.
    printf '%s\n23.11\n' "$(slurmd -V | cut -d ' ' -f 2)" | sort -V | head -n 1 | grep -qx 23.11 &&
        echo 'CgroupPlugin=disabled' >"$cluster/cgroup.conf"
    cat >"$SLURM_CONF" <<END
ClusterName=nntrain
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmdPort=$((port + 1))
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/munge
AuthInfo=socket=$cluster/munge.socket,cred_expire=5
StateSaveLocation=$cluster/state
SlurmdSpoolDir=$cluster/spool
SlurmctldPidFile=$cluster/slurmctld.pid
SlurmdPidFile=$cluster/slurmd.pid
SlurmctldLogFile=$cluster/slurmctld.log
SlurmdLogFile=$cluster/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/affinity
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=1,batch_sched_delay=0
KillWait=10
NodeName=n1 NodeHostname=$host NodeAddr=127.0.0.1 CPUs=2
PartitionName=test Nodes=n1 Default=YES OverSubscribe=FORCE:4
END
}

stop_cluster() {
    local daemon pid
    scancel --user "$(id -un)" 2>/dev/null && sleep 1
    for daemon in slurmd slurmctld munged; do
        pid=$(cat "$cluster/$daemon.pid" 2>/dev/null) || continue
        kill "$pid" 2>/dev/null
        for _ in $(seq 50); do
            kill -0 "$pid" 2>/dev/null || break
            sleep 0.1
        done
    done
    rm -rf "$work"
}

node_is_idle() { [ "$(sinfo -h -o %T 2>/dev/null)" = idle ]; }

start_cluster() {
    write_configuration
    trap stop_cluster EXIT
    munged --force --num-threads=1 --socket="$cluster/munge.socket" --key-file="$cluster/key" \
        --pid-file="$cluster/munged.pid" --log-file="$cluster/munged.log" --seed-file="$cluster/seed" \
        </dev/null >out 2>err || fail "munged does not start"
    slurmctld -c -i </dev/null >out 2>err || fail "slurmctld does not start"
    slurmd -N n1 </dev/null >out 2>err || fail "slurmd does not start"
    wait_for node_is_idle
    srun --mpi=list 2>&1 | grep -q pmix || skip "SLURM has no PMIx"
}

# --- jobs ---

# submit NAME [SBATCH OPTIONS] -- [ARGS]: sets job; the log is NAME.out.
submit() {
    local name=$1 options=()
    shift
    while [ "$1" != -- ]; do
        options+=("$1")
        shift
    done
    shift
    job=$(sbatch --parsable --job-name="$name" --output=%x.out "${options[@]}" "$batch" "$source_dir/launcher/examples/digits.ini" \
        data.file="$source_dir/datasets/digits.h5" run.output="$name" run.log_every=10 run.autotune=no "$@") || fail "sbatch"
}

has_ended() { ! scontrol show job "$1" | grep -qE 'JobState=(PENDING|RUNNING|COMPLETING|REQUEUED)'; }

# ended JOB NAME STATE RESTARTS: waits for its end.
ended() {
    cp "$2.out" out 2>/dev/null
    wait_for has_ended "$1"
    cp "$2.out" out
    scontrol show job "$1" >err
    says "JobState=$3 "
    says "Restarts=$4 "
    [ ! -e ".nntrain-restarts-$1" ] || fail "the count of restarts was left behind"
}

trains() { grep -qs ',train,' "$1/metrics.csv"; }

# came_back NAME: stopped by USR1, requeued, continued in the same log.
came_back() {
    says 'restart 0: '
    says_once_in_log 'nntrain: stopped after step [0-9]* by SIGUSR1'
    says_once_in_log 'back into the queue'
    says_once_in_log 'restart 1: '
    says_once_in_log 'info: going on from checkpoint'
    says_once_in_log 'info: done: step'
}
says_once_in_log() { [ "$(grep -c -e "$1" out)" = 1 ] || fail "the log does not say '$1' once"; }

export NNTRAIN=$binary
start_cluster

# The time limit: a run that has no end before it is stopped, and 20 more steps after that. SLURM looks every 30 s.
cat >long <<END
#!/bin/sh
steps=1000000000
[ "\$SLURM_RESTART_COUNT" -gt 0 ] 2>/dev/null &&
    steps=\$((\$(sed -n 's/.*checkpoint step \([0-9]*\) saved.*/\1/p' limit/train.log | tail -n 1) + 20))
exec nice "$binary" "\$@" optimizer.schedule=constant run.validate=never run.steps=\$steps
END
chmod +x long
NNTRAIN=$work/long submit limit --ntasks=1 --time=1 --signal=USR1@55 --
limit=$job

submit mistake -- optimizer.lrr=1
mistake=$job
submit whole -- run.epochs=8
ended "$job" whole COMPLETED 0
says '2 ranks of 2 on .*, 1 thread each'
says 'restart 0: 2 tasks of 1 CPUs'
ended "$mistake" mistake FAILED 0
says 'ExitCode=78:0'
says "did you mean 'lr'"

submit usr1 -- run.epochs=8
wait_for trains usr1
scancel --signal=USR1 "$job"
usr1=$job

submit cancelled -- run.epochs=100000 checkpoint.every=never run.validate=never
wait_for trains cancelled
scancel "$job"
ended "$job" cancelled CANCELLED 0
latest_is_sound cancelled

submit for_good -- run.epochs=100000 checkpoint.every=never run.validate=never
wait_for trains for_good
scontrol update jobid="$job" requeue=0
scancel --signal=USR1 "$job"
ended "$job" for_good FAILED 0
says 'cannot be requeued'
latest_is_sound for_good
[ -e for_good/checkpoints/latest ] || fail "stopped for good without a checkpoint"

ended "$usr1" usr1 COMPLETED 1
came_back
same_run whole usr1

ended "$limit" limit COMPLETED 1
came_back
