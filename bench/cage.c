/* Keeps a server's processes together where there is no cgroup:  cage COMMAND [ARGUMENT]...
 *
 * As a "child subreaper" it becomes the parent of every daemon that the server leaves behind, so all of them
 * stay below it in the process tree, and the CPU time of those that ended is in its own children's time.
 * Ends when none is left. SIGTERM is passed on to the command.
 */
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <errno.h>

static pid_t command;

static void pass_on(int signal_number)
{
    kill(command, signal_number);
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return 2;
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    command = fork();
    if (command == 0) {
        execvp(argv[1], argv + 1);
        perror(argv[1]);
        _exit(127);
    }
    signal(SIGTERM, pass_on);
    while (wait(NULL) > 0 || errno == EINTR)
        ;
    return 0;
}
