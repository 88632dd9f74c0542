"""A clock that is off, for one process and its children: a small library that is loaded before libc."""

import subprocess
from pathlib import Path

from tests.support.servers import program

_SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

static long shift(void) {
    const char *name = getenv("CLOCK_SHIFT_FILE"), *seconds = getenv("CLOCK_SHIFT_SECONDS");
    FILE *file = name ? fopen(name, "r") : NULL;
    long told = seconds ? atol(seconds) : 0;
    if (file) {
        if (fscanf(file, "%ld", &told) != 1) told = 0;
        fclose(file);
    }
    return told;
}

int clock_gettime(clockid_t id, struct timespec *told) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real(id, told);
    if (!failed && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) told->tv_sec += shift();
    return failed;
}

int gettimeofday(struct timeval *restrict told, void *restrict zone) {
    static int (*real)(struct timeval *, void *);
    if (!real) real = (int (*)(struct timeval *, void *))dlsym(RTLD_NEXT, "gettimeofday");
    int failed = real(told, zone);
    if (!failed) told->tv_sec += shift();
    return failed;
}

time_t time(time_t *told) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (told) *told = now.tv_sec;
    return now.tv_sec;
}
"""


def shifted(folder: Path, seconds: int) -> dict[str, str]:
    """The environment of a process whose wall clock is that much ahead; its monotonic clock is not."""
    source, library = folder / "clockshift.c", folder / "clockshift.so"
    if not library.exists():
        source.write_text(_SOURCE)
        argv = [program("gcc"), "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"]
        subprocess.run(argv, check=True, capture_output=True)
    return {"LD_PRELOAD": str(library), "CLOCK_SHIFT_SECONDS": str(seconds)}


def stepping(folder: Path, file: Path) -> dict[str, str]:
    """The same for a wall clock that is as many seconds ahead as the file says at the moment."""
    return {**shifted(folder, 0), "CLOCK_SHIFT_FILE": str(file)}
