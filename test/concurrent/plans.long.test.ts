import { testPlans } from "./plansTests.js";

testPlans({ seconds: 60, seeds: 4 });
