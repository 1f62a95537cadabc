// SPDX-License-Identifier: Apache-2.0
// /usr/bin/bpfd of the image. The file carries capabilities, so that a user without rights gets them; Node's
// own file must not, or whoever ran Node had them. What this process may do is handed on to the Node that it
// becomes: nothing that the container was not given, and nothing that other users of the image get.
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static void fail(const char *what)
{
	perror(what);
	exit(126);
}

int main(int count, char **words)
{
	struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct sets[2];
	char *command[64] = { "/usr/bin/node", "--max-semi-space-size=2", "/usr/lib/bpfleet/app/daemon.js" };
	int at = 3;

	if (syscall(SYS_capget, &header, sets) != 0)
		fail("bpfd: read capabilities");
	for (int i = 0; i < 2; i++)
		sets[i].effective = sets[i].inheritable = sets[i].permitted;
	if (syscall(SYS_capset, &header, sets) != 0)
		fail("bpfd: set capabilities");
	for (int i = 0; i < 64; i++)
		if ((sets[i / 32].permitted >> (i % 32)) & 1 && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, i, 0, 0) != 0)
			fail("bpfd: hand capabilities on");
	for (int i = 1; i < count && at < 63; i++)
		command[at++] = words[i];
	execv(command[0], command);
	fail("bpfd: run /usr/bin/node");
}
