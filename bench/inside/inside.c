/*
 * What a program pays for the kernel's services, after lmbench: run on the host and
 * inside guests, the same file both times. Prints a line a row, the name and the time of
 * one operation in nanoseconds: the least of several runs, since what disturbs a run
 * only makes it longer.
 *
 *   inside          all rows
 *   inside nothing  ends at once: what the row exec executes
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define RUNS 7
#define LEAST 4000000 /* ns that one run takes at least */

static void must(int ok, const char *what)
{
	if (!ok) {
		perror(what);
		_exit(125);
	}
}

static long long now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static const char *self;
static int ends[4]; /* of pipes or sockets: mine to read, to write, the other's to read, to write */

static void null(void) { syscall(SYS_getppid); }

static void look(void)
{
	struct stat st;
	must(stat("/etc/passwd", &st) == 0, "stat");
}

static void open_close(void)
{
	int fd = open("/etc/passwd", O_RDONLY);
	must(fd >= 0, "open");
	close(fd);
}

/* a byte into a pipe and out again, by one process */
static void through(void)
{
	char c = 0;
	must(write(ends[1], &c, 1) == 1 && read(ends[0], &c, 1) == 1, "pipe");
}

/* a byte to another process on the same processor, and back: two switches */
static void there_and_back(void)
{
	char c = 0;
	must(write(ends[1], &c, 1) == 1 && read(ends[0], &c, 1) == 1, "ping");
}

static void ended(pid_t pid)
{
	int st;
	must(pid > 0 && waitpid(pid, &st, 0) == pid && st == 0, "child");
}

static void forking(void)
{
	pid_t pid = fork();
	if (pid == 0)
		_exit(0);
	ended(pid);
}

static void execing(void)
{
	pid_t pid = fork();
	if (pid == 0) {
		execl(self, self, "nothing", (char *)0);
		_exit(125);
	}
	ended(pid);
}

static void shell(void)
{
	pid_t pid = fork();
	if (pid == 0) {
		execl("/bin/sh", "sh", "-c", "exit 0", (char *)0);
		_exit(125);
	}
	ended(pid);
}

#define MAPPED (1 << 20)

static void map(void)
{
	char *p = mmap(0, MAPPED, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	must(p != MAP_FAILED, "mmap");
	for (int i = 0; i < MAPPED; i += 4096)
		p[i] = 1;
	munmap(p, MAPPED);
}

/* pages of a file that are in memory; the kernel maps those around a fault with it */
#define AROUND 65536
static void fault(void)
{
	static int fd = -1;
	static volatile char *p;
	static size_t at, size;
	if (fd < 0) {
		struct stat st;
		fd = open(self, O_RDONLY);
		must(fd >= 0 && fstat(fd, &st) == 0, "open");
		size = at = st.st_size;
	}
	if (at + AROUND > size) {
		if (p)
			munmap((void *)p, size);
		p = mmap(0, size, PROT_READ, MAP_SHARED, fd, 0);
		must(p != MAP_FAILED, "mmap");
		at = 0;
	}
	(void)p[at];
	at += AROUND;
}

static void pipes(void)
{
	int a[2], b[2];
	must(pipe(a) == 0 && pipe(b) == 0, "pipe");
	ends[0] = a[0], ends[1] = b[1], ends[2] = b[0], ends[3] = a[1];
}

static void onePipe(void) { must(pipe(ends) == 0, "pipe"); }

static void sockets(void)
{
	int s[2];
	must(socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0, "socketpair");
	ends[0] = ends[1] = s[0], ends[2] = ends[3] = s[1];
}

/* answers until the other end is closed */
static pid_t echo(void)
{
	pid_t pid = fork();
	if (pid == 0) {
		char c;
		close(ends[1]);
		while (read(ends[2], &c, 1) == 1)
			if (write(ends[3], &c, 1) != 1)
				break;
		_exit(0);
	}
	must(pid > 0, "fork");
	close(ends[2]);
	close(ends[3]);
	return pid;
}

static const struct row {
	const char *name;
	void (*once)(void);
	void (*before)(void);
	int other; /* a process answers */
} rows[] = {
	{"null", null}, {"stat", look}, {"open/close", open_close}, {"pipe", through, onePipe},
	{"fork", forking}, {"fork+exec", execing}, {"fork+sh", shell}, {"mmap", map},
	{"page-fault", fault}, {"switch", there_and_back, pipes, 1}, {"af_unix", there_and_back, sockets, 1},
};

static double least(void (*once)(void))
{
	double best = 0;
	long n = 1;
	for (int run = 0; run < RUNS;) {
		long long begin = now();
		for (long i = 0; i < n; i++)
			once();
		long long took = now() - begin;
		if (took < LEAST) {
			n *= 2;
			continue;
		}
		if (best == 0 || (double)took / n < best)
			best = (double)took / n;
		run++;
	}
	return best;
}

int main(int argc, char **argv)
{
	cpu_set_t one;
	if (argc > 1 && strcmp(argv[1], "nothing") == 0)
		return 0;
	self = argv[0];
	CPU_ZERO(&one);
	CPU_SET(0, &one);
	must(sched_setaffinity(0, sizeof one, &one) == 0, "sched_setaffinity");
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		pid_t pid = 0;
		if (rows[i].before)
			rows[i].before();
		if (rows[i].other)
			pid = echo();
		printf("%s %.1f\n", rows[i].name, least(rows[i].once));
		fflush(stdout);
		if (rows[i].before) {
			close(ends[0]);
			if (ends[1] != ends[0])
				close(ends[1]);
		}
		if (pid)
			ended(pid);
	}
	return 0;
}
