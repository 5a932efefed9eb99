import { run, testSeeds } from "./sim/testSeeds.js";

testSeeds("clients do not notice that keys move", { first: 61, count: 400 }, (seed) => run(seed));
