import { testPlans } from "./plansTests.js";

testPlans({ seconds: 8, seeds: 1 });
