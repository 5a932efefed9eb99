import { testSeeds } from "./sim/testSeeds.js";

testSeeds({ first: 1, count: 1_000 });
