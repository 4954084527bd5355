// The versions of the two plugins that app/build.gradle.kts uses. "apply false": they are for the folder app/, not for this one.
plugins {
    id("com.android.application") version "@PLUGIN@" apply false
    id("org.jetbrains.kotlin.android") version "@KOTLIN@" apply false
}
