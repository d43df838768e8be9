// SPDX-License-Identifier: GPL-2.0
/*
 * dlm-node - make this machine a whole fs/dlm cluster of one node, and stay to
 * play the part of dlm_controld: a lockspace that comes or goes waits for
 * somebody in user space to set up its membership and say so. The kernel
 * announces both by uevents, so this sleeps in between; nothing polls, which
 * would spoil measurements.
 *
 * configfs must be mounted and the dlm module loaded. Returns, with the real
 * work going on in the background, when lockspaces can be created.
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define CLUSTER "/sys/kernel/config/dlm/cluster"

static void put(const void *data, size_t size, const char *fmt, ...)
{
	char path[512];
	va_list ap;
	int fd;

	va_start(ap, fmt);
	vsnprintf(path, sizeof(path), fmt, ap);
	va_end(ap);

	fd = open(path, O_WRONLY);
	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		warn("%s", path);
	if (fd >= 0)
		close(fd);
}

static void make(const char *fmt, const char *name)
{
	char path[512];

	snprintf(path, sizeof(path), fmt, name);
	if (mkdir(path, 0755) && errno != EEXIST)
		warn("%s", path);
}

static void drop(const char *fmt, const char *name)
{
	char path[512];

	snprintf(path, sizeof(path), fmt, name);
	if (rmdir(path) && errno != ENOENT)
		warn("%s", path);
}

static void form_cluster(void)
{
	struct sockaddr_storage addr = { 0 };
	struct sockaddr_in *in = (struct sockaddr_in *)&addr;

	in->sin_family = AF_INET;
	in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);

	make("%s", CLUSTER);
	put("guest", 5, CLUSTER "/cluster_name");
	make("%s", CLUSTER "/comms/1");
	put("1", 1, CLUSTER "/comms/1/nodeid");
	put(&addr, sizeof(addr), CLUSTER "/comms/1/addr");
	put("1", 1, CLUSTER "/comms/1/local");
}

/* A lockspace's creator waits: its members are this node, and it may start. */
static void join(const char *name)
{
	static unsigned int id;
	char text[16];

	make(CLUSTER "/spaces/%s", name);
	make(CLUSTER "/spaces/%s/nodes/1", name);
	put("1", 1, CLUSTER "/spaces/%s/nodes/1/nodeid", name);
	snprintf(text, sizeof(text), "%u", ++id);
	put(text, strlen(text), "/sys/kernel/dlm/%s/id", name);
	put("1", 1, "/sys/kernel/dlm/%s/control", name);
	put("0", 1, "/sys/kernel/dlm/%s/event_done", name);
}

static void leave(const char *name)
{
	put("0", 1, "/sys/kernel/dlm/%s/event_done", name);
	drop(CLUSTER "/spaces/%s/nodes/1", name);
	drop(CLUSTER "/spaces/%s", name);
}

int main(void)
{
	static const char online[] = "online@/kernel/dlm/";
	static const char offline[] = "offline@/kernel/dlm/";
	struct sockaddr_nl from = { .nl_family = AF_NETLINK, .nl_groups = 1 };
	char message[8192];
	int size = 16 << 20;
	ssize_t n;
	int s;

	s = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT);
	if (s < 0 || bind(s, (struct sockaddr *)&from, sizeof(from)))
		err(1, "uevents");
	if (setsockopt(s, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)))
		warn("SO_RCVBUFFORCE");
	form_cluster();
	if (daemon(0, 1))
		err(1, "daemon");

	for (;;) {
		n = recv(s, message, sizeof(message) - 1, 0);
		if (n < 0) {
			if (errno == EINTR || errno == ENOBUFS)
				continue;
			err(1, "uevents");
		}
		message[n] = 0;
		if (!strncmp(message, online, sizeof(online) - 1))
			join(message + sizeof(online) - 1);
		else if (!strncmp(message, offline, sizeof(offline) - 1))
			leave(message + sizeof(offline) - 1);
	}
}
