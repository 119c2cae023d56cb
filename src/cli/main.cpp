#include <unistd.h>

#include <cstdlib>
#include <iostream>

#include "cli/app.h"

int main(int argc, char** argv) {
    const char* no_color = std::getenv("NO_COLOR");
    beeline::cli::Context context{.out = std::cout, .err = std::cerr};
    context.color = isatty(STDOUT_FILENO) == 1 && (no_color == nullptr || *no_color == '\0');
    return beeline::cli::run({argv + 1, argv + argc}, context);
}
