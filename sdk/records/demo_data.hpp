// The demo village stands in the public header, because the tools use it; its figures are in demo_figures.hpp.
#pragma once

#include "doorstep/demo_data.hpp"
