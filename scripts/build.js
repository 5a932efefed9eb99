// npm run build
import { build, checkNode, installPackages } from "./setup.js";

checkNode();
installPackages();
build();
