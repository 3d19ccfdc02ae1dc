/*
 * A guest that works and one that takes all it can get.
 *
 *   neighbour work KIND MILLISECONDS
 *       does one kind of work for so long and prints how often it came round in a second
 *   neighbour hog KIND
 *       takes all it can get, until it is killed
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void must(int ok, const char *what)
{
	if (!ok) {
		perror(what);
		_exit(125);
	}
}

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

/* work */

static void cpu(void)
{
	static volatile unsigned x = 1;
	for (int i = 0; i < 20000; i++)
		x = x * 1664525 + 1013904223;
}

#define ROOM (64 << 20)

/* pages anew, and lines of them here and there */
static void memory(void)
{
	static unsigned at = 1;
	char *p = mmap(0, ROOM / 64, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	must(p != MAP_FAILED, "mmap");
	for (int i = 0; i < 4096; i++) {
		at = at * 1664525 + 1013904223;
		p[at % (ROOM / 64)]++;
	}
	munmap(p, ROOM / 64);
}

static void forking(void)
{
	int st;
	pid_t pid = fork();
	if (pid == 0)
		_exit(0);
	must(pid > 0 && waitpid(pid, &st, 0) == pid, "fork");
}

static void disk(void)
{
	static int fd = -1;
	static char block[4096];
	static int n;
	if (fd < 0)
		fd = open("/work", O_RDWR | O_CREAT | O_TRUNC, 0600);
	must(fd >= 0 && pwrite(fd, block, sizeof block, (off_t)(n++ % 256) * sizeof block) == sizeof block && fdatasync(fd) == 0, "/work");
}

static int local(int type, struct sockaddr_in *a)
{
	socklen_t n = sizeof *a;
	int s = socket(AF_INET, type | SOCK_CLOEXEC, 0);
	memset(a, 0, sizeof *a);
	a->sin_family = AF_INET;
	a->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	must(s >= 0 && bind(s, (struct sockaddr *)a, sizeof *a) == 0 && getsockname(s, (struct sockaddr *)a, &n) == 0, "socket");
	return s;
}

/* a byte to another process over TCP and back */
static void net(void)
{
	static int s = -1;
	char c = 0;
	if (s < 0) {
		struct sockaddr_in a;
		int l = local(SOCK_STREAM, &a);
		must(listen(l, 1) == 0, "listen");
		if (fork() == 0) {
			int e = accept(l, 0, 0);
			while (read(e, &c, 1) == 1 && write(e, &c, 1) == 1)
				;
			_exit(0);
		}
		s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		must(connect(s, (struct sockaddr *)&a, sizeof a) == 0, "connect");
	}
	must(write(s, &c, 1) == 1 && read(s, &c, 1) == 1, "echo");
}

/* one of each of the pools that the kernel has for all */
static void pools(void)
{
	int p[2], fd[5];
	must(pipe(p) == 0, "pipe");
	fd[0] = inotify_init1(IN_CLOEXEC);
	fd[1] = epoll_create1(0);
	fd[2] = open("/dev/ptmx", O_RDWR | O_NOCTTY);
	fd[3] = socket(AF_INET, SOCK_DGRAM, 0);
	fd[4] = open("/etc/passwd", O_RDONLY);
	for (int i = 0; i < 5; i++) {
		must(fd[i] >= 0, "one of the pools");
		close(fd[i]);
	}
	close(p[0]);
	close(p[1]);
}

/* hogs */

static void spin(void)
{
	for (int i = 0; i < 8; i++)
		if (fork() == 0)
			for (;;)
				cpu();
}

/* more than the guest may have, again and again: who is killed for it is replaced */
static void devour(void)
{
	for (;;) {
		if (fork() == 0)
			for (;;) {
				char *p = mmap(0, ROOM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
				if (p == MAP_FAILED)
					_exit(0);
				memset(p, 1, ROOM);
			}
		wait(0);
	}
}

static void bomb(void)
{
	for (;;)
		fork();
}

static void fill(void)
{
	static char block[1 << 20];
	for (int i = 0; i < 4; i++)
		if (fork() == 0)
			for (int n = 0;; n++) {
				char name[32];
				snprintf(name, sizeof name, "/fill%d", i);
				int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
				for (int m = 0; fd >= 0 && m < 64 && write(fd, block, sizeof block) > 0; m++)
					if (m % 8 == 7)
						fsync(fd);
				close(fd);
			}
}

static void flood(void)
{
	static char packet[1400];
	struct sockaddr_in a;
	local(SOCK_DGRAM, &a);
	for (int i = 0; i < 4; i++)
		if (fork() == 0) {
			int s = socket(AF_INET, SOCK_DGRAM, 0);
			for (;;)
				sendto(s, packet, sizeof packet, MSG_DONTWAIT, (struct sockaddr *)&a, sizeof a);
		}
}

/* all that there is of one pool, kept */
static const char *pool;
static void grab(void)
{
	for (int i = 0; i < 100; i++)
		if (fork() == 0) {
			for (;;) {
				int p[2], fd = -1;
				if (strcmp(pool, "fd") == 0)
					fd = open("/etc/passwd", O_RDONLY);
				else if (strcmp(pool, "pipe") == 0)
					fd = pipe(p);
				else if (strcmp(pool, "inotify") == 0)
					fd = inotify_init();
				else if (strcmp(pool, "pty") == 0)
					fd = open("/dev/ptmx", O_RDWR | O_NOCTTY);
				else if (strcmp(pool, "socket") == 0)
					fd = socket(AF_INET, SOCK_DGRAM, 0);
				if (fd < 0)
					usleep(10000);
			}
		}
}

static const struct kind {
	const char *name;
	void (*work)(void);
	void (*hog)(void);
} kinds[] = {
	{"cpu", cpu, spin}, {"memory", memory, devour}, {"fork", forking, bomb}, {"disk", disk, fill}, {"net", net, flood},
	{"fd", pools, grab}, {"pipe", pools, grab}, {"inotify", pools, grab}, {"pty", pools, grab}, {"socket", pools, grab},
};

int main(int argc, char **argv)
{
	for (size_t i = 0; argc > 2 && i < sizeof kinds / sizeof *kinds; i++) {
		if (strcmp(kinds[i].name, argv[2]) != 0)
			continue;
		if (strcmp(argv[1], "hog") == 0) {
			pool = argv[2];
			kinds[i].hog();
			for (;;)
				pause();
		}
		long n = 0;
		double begin, end;
		kinds[i].work();
		begin = now();
		end = begin + atof(argc > 3 ? argv[3] : "500") / 1000;
		while (now() < end) {
			kinds[i].work();
			n++;
		}
		printf("%.2f\n", n / (now() - begin));
		return 0;
	}
	fprintf(stderr, "usage: neighbour work|hog KIND [MILLISECONDS]\n");
	return 2;
}
