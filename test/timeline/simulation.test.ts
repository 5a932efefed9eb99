import { testSeeds } from "./sim/testSeeds.js";

testSeeds({ first: 1, count: 500 });
