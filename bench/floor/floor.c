/*
 * The kernel's share of a guest's start, and of entering one: the fewest system
 * calls that do it, in C, with nothing read, noted or checked beyond them.
 *
 *   floor start [-u] [-c CGROUP] [-b] ROOT COMMAND [ARG...]
 *       clone3 with pid, mount, uts, ipc, net and cgroup namespaces; ROOT bound and
 *       pivoted into, /proc mounted, COMMAND executed and waited for.
 *       -u  a user namespace as well, ids 0..65535 at 655360
 *       -c  a new cgroup (v2), cloned into, removed at the end
 *       -b  not waited for: prints the pid when COMMAND is executed
 *   floor enter PID COMMAND [ARG...]
 *       all namespaces of PID joined, COMMAND run in a child and waited for.
 *   floor end PID...
 *       SIGKILL to each, and back when they are gone.
 *   floor pause
 *       an idle process without a C library's memory to speak of.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORLD (CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWCGROUP)

static void must(int ok, const char *what)
{
	if (!ok) {
		perror(what);
		_exit(125);
	}
}

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	must(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text), path);
	close(fd);
}

static int wait_for(pid_t pid)
{
	int st;
	while (waitpid(pid, &st, 0) < 0)
		must(errno == EINTR, "waitpid");
	return WIFEXITED(st) ? WEXITSTATUS(st) : 128 + WTERMSIG(st);
}

/* what the guest's first process does before it becomes COMMAND */
static void become(const char *root, char **command, int gate, int background)
{
	char byte;
	if (gate >= 0) {
		must(read(gate, &byte, 1) == 1, "gate");
		must(!setresgid(0, 0, 0) && !setresuid(0, 0, 0), "ids");
	}
	if (background) {
		int null = open("/dev/null", O_RDWR);
		setsid();
		dup2(null, 0);
		dup2(null, 1);
		dup2(null, 2);
	}
	must(!mount("", "/", NULL, MS_REC | MS_SLAVE, NULL), "slave /");
	must(!mount(root, root, NULL, MS_BIND | MS_REC, NULL), "bind root");
	must(!chdir(root), "chdir");
	must(!mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL), "mount proc");
	must(!syscall(SYS_pivot_root, ".", "."), "pivot_root");
	must(!umount2(".", MNT_DETACH) && !chdir("/"), "leave the old root");
	execv(command[0], command);
	must(0, command[0]);
}

static int start(int argc, char **argv)
{
	struct clone_args args = {.flags = WORLD, .exit_signal = SIGCHLD};
	const char *group = NULL;
	int option, background = 0, gate[2] = {-1, -1}, executed[2];
	while ((option = getopt(argc, argv, "+ubc:")) > 0) {
		if (option == 'u')
			args.flags |= CLONE_NEWUSER;
		else if (option == 'b')
			background = 1;
		else if (option == 'c')
			group = optarg;
		else
			return 2;
	}
	if (argc - optind < 2)
		return 2;
	if (group) {
		must(!mkdir(group, 0755), group);
		args.cgroup = open(group, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		args.flags |= CLONE_INTO_CGROUP;
	}
	if (args.flags & CLONE_NEWUSER)
		must(!pipe2(gate, O_CLOEXEC), "pipe");
	must(!pipe2(executed, O_CLOEXEC), "pipe");
	pid_t pid = syscall(SYS_clone3, &args, sizeof args);
	must(pid >= 0, "clone3");
	if (pid == 0)
		become(argv[optind], argv + optind + 1, gate[0], background);
	if (args.flags & CLONE_NEWUSER) {
		char path[64];
		snprintf(path, sizeof path, "/proc/%d/uid_map", pid);
		put(path, "0 655360 65536\n");
		snprintf(path, sizeof path, "/proc/%d/gid_map", pid);
		put(path, "0 655360 65536\n");
		must(write(gate[1], "", 1) == 1, "gate");
	}
	if (background) {
		char byte;
		close(executed[1]);
		while (read(executed[0], &byte, 1) < 0) /* ends with the exec */
			must(errno == EINTR, "read");
		printf("%d\n", pid);
		return 0;
	}
	int code = wait_for(pid);
	if (group)
		must(!rmdir(group), "rmdir");
	return code;
}

static int enter(int argc, char **argv)
{
	if (argc < 3)
		return 2;
	int fd = syscall(SYS_pidfd_open, atoi(argv[1]), 0);
	must(fd >= 0 && !setns(fd, WORLD), "setns");
	pid_t pid = fork();
	if (pid == 0) {
		execv(argv[2], argv + 2);
		must(0, argv[2]);
	}
	return wait_for(pid);
}

static int end(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		struct pollfd gone = {.events = POLLIN};
		gone.fd = syscall(SYS_pidfd_open, atoi(argv[i]), 0);
		if (gone.fd < 0)
			continue;
		kill(atoi(argv[i]), SIGKILL);
		poll(&gone, 1, 10000);
		close(gone.fd);
	}
	return 0;
}

int main(int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "";
	if (!strcmp(verb, "start"))
		return start(argc - 1, argv + 1);
	if (!strcmp(verb, "enter"))
		return enter(argc - 1, argv + 1);
	if (!strcmp(verb, "end"))
		return end(argc - 1, argv + 1);
	if (!strcmp(verb, "pause"))
		for (;;)
			pause();
	fprintf(stderr, "usage: floor start|enter|end|pause ...\n");
	return 2;
}
