import { testSeeds } from "./sim/testSeeds.js";

testSeeds({ first: 1_001, count: 2_000 });
