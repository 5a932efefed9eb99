import { testPlans } from "./plansTests.js";

testPlans({ seconds: 20, seeds: 1 });
