import { testSeeds } from "../reshard/sim/testSeeds.js";
import { run } from "./sim/run.js";

testSeeds("watches do not notice that keys move", { first: 31, count: 200 }, (seed) => run(seed));
