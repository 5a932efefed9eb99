import { testSeeds } from "./testSeeds.js";

testSeeds({ first: 41, count: 300 });
