// How the app is built.
plugins {
    id("com.android.application") // writes apps for Android
    id("org.jetbrains.kotlin.android") // compiles Kotlin
}

android {
    namespace = "pggan.app" // the package of the code in src/main/kotlin
    compileSdk = 36 // the version of Android whose classes the code may name

    defaultConfig {
        applicationId = "@APP_ID@" // no other app on a phone may have it
        minSdk = 24 // Android 7 is the oldest that runs the app; LiteRT asks for Android 6
        targetSdk = 36 // the newest that it was written for
        versionCode = 1 // an update needs a larger number
        versionName = "1.0" // what people see
    }

    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_17
        targetCompatibility = JavaVersion.VERSION_17
    }

    androidResources {
        noCompress += "tflite" // LiteRT reads the network's file from within the app without unpacking it
    }
}

kotlin {
    jvmToolchain(17) // the version of Java that compiles; Android Studio brings one
}

dependencies {
    // Runs the network. Licence: Apache 2.0. For phones' GPUs add litert-gpu of the same version, see Network.kt.
    implementation("com.google.ai.edge.litert:litert:@LITERT@")
}
