/* The shared values when a process dies or stops in the middle of a change: others go on, and lose the one
 * key that was being written at most. The table's own steps are called here, so kv.c is part of this file. */
#include "kv.c"
#include "guard.h"
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static blitz_kv *kv;
static const uint64_t NOW = 1000000;
static const uint8_t KEY[] = "the key";
enum { LEN = sizeof KEY - 1 };

static int64_t add(const uint8_t *key, size_t len, int64_t delta)
{
    int64_t sum = -1;
    MUST(blitz_kv_incr(kv, key, len, delta, 0, NOW, &sum) == 0, "incr");
    return sum;
}

/* In a child: take the lock of KEY's set, write half of a slot if asked, end by that signal. */
static pid_t holder_that_ends_by(int signal_number, bool half_written)
{
    pid_t child = fork();
    MUST(child >= 0, "fork");
    if (child == 0) {
        fingerprint known = fingerprint_of(kv, KEY, LEN);
        slot *set = kv->slots[set_of(known)];
        if (lock_set(&kv->locks[set_of(known)]) != 0)
            _exit(1);
        if (half_written) {
            slot *at = find(set, known, NOW);
            begin(at, known, NOW, 0);
            memset(at->text, 'x', 100);
            at->len = UINT32_MAX;
        }
        raise(signal_number);
        _exit(2);
    }
    return child;
}

/* Wait for the end or the stop, and leave the process as it is: a zombie holds on to its process id. */
static void wait_until_it_is(pid_t child, int how)
{
    siginfo_t info;
    MUST(waitid(P_PID, (id_t)child, &info, how | WNOWAIT) == 0, "waitid");
    MUST(info.si_code == CLD_KILLED || info.si_code == CLD_STOPPED, "code %d, status %d", info.si_code, info.si_status);
}

static void reap(pid_t child) { MUST(waitpid(child, NULL, 0) == child, "waitpid"); }

static void a_dead_holder_loses_nothing_it_did_not_write(void)
{
    MUST(add(KEY, LEN, 5) == 5, "before");
    pid_t child = holder_that_ends_by(SIGKILL, false);
    wait_until_it_is(child, WEXITED);
    MUST(add(KEY, LEN, 2) == 7, "after");
    reap(child);
    MUST(add(KEY, LEN, 1) == 8, "after it was reaped");
}

static void half_a_write_is_no_value(void)
{
    uint8_t value[BLITZ_KV_MAX_VALUE];
    pid_t child = holder_that_ends_by(SIGKILL, true);
    wait_until_it_is(child, WEXITED);
    MUST(blitz_kv_get(kv, KEY, LEN, NOW, value) == BLITZ_E_DECLINED, "half a value was read");
    MUST(add(KEY, LEN, 3) == 3, "a new beginning");
    reap(child);
}

static void a_stopped_holder_costs_a_call_and_not_a_worker(void)
{
    uint8_t value[BLITZ_KV_MAX_VALUE];
    pid_t child = holder_that_ends_by(SIGSTOP, false);
    wait_until_it_is(child, WSTOPPED);
    uint64_t start = blitz_monotonic_ns();
    MUST(blitz_kv_get(kv, KEY, LEN, NOW, value) == BLITZ_E_STATE, "the lock was broken");
    MUST(blitz_monotonic_ns() - start >= (LOCK_WAIT_MS - 1) * 1000000u, "no wait");
    kill(child, SIGKILL);
    wait_until_it_is(child, WEXITED);
    MUST(blitz_kv_get(kv, KEY, LEN, NOW, value) == 1 && value[0] == '3', "the value");
    reap(child);
}

/* qemu-user has no robust lists: there nobody learns of a holder's death. */
static bool kernel_tells_of_dead_holders(void)
{
    void *list;
    size_t size;
    return syscall(SYS_get_robust_list, 0, &list, &size) == 0;
}

int main(void)
{
    if (!kernel_tells_of_dead_holders()) {
        puts("test_kv: skipped, no robust mutexes here");
        return 0;
    }
    blitz_shared *shared = blitz_shared_new(64);
    MUST(shared != NULL, "shared memory");
    kv = blitz_shared_kv(shared);
    a_dead_holder_loses_nothing_it_did_not_write();
    half_a_write_is_no_value();
    a_stopped_holder_costs_a_call_and_not_a_worker();
    blitz_shared_free(shared);
    puts("test_kv: ok");
    return 0;
}
