/* The ELF file that is pushed to the test phone as benchmark_model: it starts the Python program that does the work there. */
#include <stdio.h>
#include <unistd.h>

int main(int argc, char **argv) {
    char *program[argc + 4];
    program[0] = "python3";
    program[1] = "-I";
    program[2] = "/system/lib/benchmark_model.py";
    for (int i = 0; i < argc; i++) program[3 + i] = argv[i];
    program[3 + argc] = NULL;
    execv("/usr/bin/python3", program);
    perror("CANNOT LINK EXECUTABLE \"benchmark_model\"");
    return 127;
}
