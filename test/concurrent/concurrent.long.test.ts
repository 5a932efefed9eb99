import { testHistories } from "./historiesTests.js";

testHistories({ seconds: 20, seeds: 2 });
