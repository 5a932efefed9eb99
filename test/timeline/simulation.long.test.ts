import { testSeeds } from "./sim/testSeeds.js";

testSeeds({ first: 501, count: 2_500 });
