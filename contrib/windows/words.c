/* Prints the arguments that it gets from a command line, each on a line. */
#include <stdio.h>

int main(int argc, char **argv) {
    for (int at = 1; at < argc; at++)
        puts(argv[at]);
    return 0;
}
